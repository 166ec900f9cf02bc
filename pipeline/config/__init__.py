"""The configuration of a training run: YAML, overrides, and every refusal before anything starts."""

from pipeline.config.load import load_ahead, load_config, pinning, save_config
from pipeline.config.sections import Batch, Data, Optimizer, Parallel, Run, RunConfig, Train
from pipeline.config.validate import BF16_WITHOUT_ZERO, require_layout

__all__ = [
    "BF16_WITHOUT_ZERO",
    "Batch",
    "Data",
    "Optimizer",
    "Parallel",
    "Run",
    "RunConfig",
    "Train",
    "load_ahead",
    "load_config",
    "pinning",
    "require_layout",
    "save_config",
]
