"""What an evaluation is computed with: device, number format, processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Number formats of the weights -> torch's names."""

BYTES = 8
"""Memory of a process for each parameter: 4 bytes of weights in fp32, and as much for the computation."""


@dataclass(frozen=True, kw_only=True)
class Computing:
    """device: where. dtype: number format of the weights. requested: number of processes, None if the user
    gave none. most: number of GPUs, or of cores."""

    device: str
    dtype: str
    requested: int | None
    most: int

    def processes(self, parameters: int) -> int:
        """Number of processes, each with the whole model: on a CPU, no more than fit into memory."""
        if self.requested or self.device == CUDA:
            return self.requested or self.most
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return max(1, min(self.most, memory // (BYTES * parameters)))


def computing(device: str, dtype: str, processes: int | None, cores: int) -> Computing:
    """Resolve `auto`: GPUs with bf16 where there are any, else the cores with fp32.

    torch is imported only on a machine with GPUs. Raises UsageError for a device that is not there.
    """
    if device not in (AUTO, CPU, CUDA):
        raise UsageError(f"--device {device}: choose from {AUTO}, {CPU}, {CUDA}")
    if dtype not in (AUTO, *DTYPES):
        raise UsageError(f"--dtype {dtype}: choose from {AUTO}, {', '.join(DTYPES)}")
    gpus = 0 if device == CPU else _gpus()
    if device == CUDA and not gpus:
        raise UsageError("--device cuda: torch finds no GPU here; give --device cpu, or another machine")
    chosen_dtype = dtype if dtype != AUTO else "bf16" if gpus else "fp32"
    chosen_device, most = (CUDA, gpus) if gpus else (CPU, cores)
    return Computing(device=chosen_device, dtype=chosen_dtype, requested=processes, most=most)


def _gpus() -> int:
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return 0
    import torch

    return torch.cuda.device_count()
