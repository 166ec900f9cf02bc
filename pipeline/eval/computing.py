"""What an evaluation is computed with: device, number format, processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Number formats of the weights -> torch's names."""


@dataclass(frozen=True)
class Computing:
    """processes: how many answer at once, each with the whole model: one a GPU, or one a core."""

    device: str
    dtype: str
    processes: int


def computing(device: str, dtype: str, processes: int | None, cores: int) -> Computing:
    """Choose what was left to us: GPUs with bf16 where there are any, else the cores with fp32.

    torch is imported only on a machine with GPUs. Raises UsageError for what is not there.
    """
    if device not in (AUTO, CPU, CUDA):
        raise UsageError(f"--device {device}: choose from {AUTO}, {CPU}, {CUDA}")
    if dtype not in (AUTO, *DTYPES):
        raise UsageError(f"--dtype {dtype}: choose from {AUTO}, {', '.join(DTYPES)}")
    gpus = 0 if device == CPU else _gpus()
    if device == CUDA and not gpus:
        raise UsageError("--device cuda: torch finds no GPU here; give --device cpu, or another machine")
    chosen = CUDA if gpus else CPU
    return Computing(
        chosen,
        dtype if dtype != AUTO else "bf16" if gpus else "fp32",
        processes or gpus or cores,
    )


def _gpus() -> int:
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return 0
    import torch

    return torch.cuda.device_count()
