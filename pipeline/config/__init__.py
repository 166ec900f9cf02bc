"""The configuration of a training run: YAML, overrides, and every refusal before anything starts."""

from pipeline.config.load import examine, load_ahead, load_config, pinning, save_config
from pipeline.config.sections import Batch, Data, Optimizer, Parallel, Run, RunConfig, Train
from pipeline.config.validate import BF16_WITHOUT_ZERO, check_layout, require_layout

__all__ = [
    "BF16_WITHOUT_ZERO",
    "Batch",
    "Data",
    "Optimizer",
    "Parallel",
    "Run",
    "RunConfig",
    "Train",
    "check_layout",
    "examine",
    "load_ahead",
    "load_config",
    "pinning",
    "require_layout",
    "save_config",
]
