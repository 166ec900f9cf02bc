"""The configuration of a training run: YAML, overrides, and every refusal before anything starts."""

from pipeline.config.reading import load_ahead, load_config, pinning, save_config
from pipeline.config.refusals import BF16_WITHOUT_ZERO, check_layout
from pipeline.config.sections import Batch, Data, Optimizer, Parallel, Run, RunConfig, Train

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
    "load_ahead",
    "load_config",
    "pinning",
    "save_config",
]
