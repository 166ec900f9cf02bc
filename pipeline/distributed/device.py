"""All that differs by device: number format, communication backend, peak speed. The loop knows none of it."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from pipeline.checkpoint.attempts import host_name
from pipeline.costs.hardware import GPUS
from pipeline.distributed.deepspeed_workarounds import bf16_settings
from pipeline.distributed.ranks import is_slurm_task
from pipeline.errors import BadNodes, UsageError

BF16 = bf16_settings()
"""DeepSpeed's settings for what GPUs compute with."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """The device of one process."""

    type: str
    backend: str
    """Backend of torch.distributed."""
    precision: dict[str, Any]
    """DeepSpeed's settings of number formats."""
    peak_flops: float | None
    """Operations a second, for MFU; None where nobody states one."""


def find_device(local_rank: int, precision: str = "auto", deterministic: bool = False) -> Device:
    """Take this process's GPU if the machine has any, else the CPU.

    precision: "fp32", "bf16", or "auto" for what suits the device. deterministic: from now on every operation
    computes the same bits from the same numbers, and torch raises RuntimeError at one that cannot.

    Raises BadNodes when this node lacks GPUs that the cluster profile promises, UsageError when there are
    too few for the processes that were started, or torch was built without CUDA.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    promised = int(os.environ.get("OUTBOUND_GPUS_PER_NODE", 0))
    if promised and not (torch.version.cuda or torch.version.hip):
        raise UsageError(
            f"the cluster profile gives gpus_per_node: {promised}, and this torch ({torch.__version__}) was "
            "built without CUDA: install one with it, or set gpus_per_node: 0 to train on CPUs"
        )
    index = gpu_of(
        local_rank,
        found=torch.cuda.device_count() if torch.cuda.is_available() else 0,
        promised=promised,
        own=is_slurm_task() and bool(re.fullmatch("[^,]+", os.environ.get("CUDA_VISIBLE_DEVICES", ""))),
    )
    if index is None:
        # fp32: without AMX or AVX512-bf16 a bf16 product runs 90 times slower (measured, AVX2).
        torch.set_num_threads(1)  # processes share the cores; spinning threads cost five times the CPU
        return Device(
            type="cpu", backend="gloo", precision=BF16 if precision == "bf16" else {}, peak_flops=None
        )
    try:
        torch.cuda.set_device(index)
        torch.cuda.synchronize()  # starts the GPU
    except RuntimeError as error:
        if not promised:
            raise
        line = str(error).partition("\n")[0]
        raise BadNodes({host_name(): f"GPU {index} does not start: {line}"}) from None
    if precision == "fp32":
        return Device(type="cuda", backend="nccl", precision={}, peak_flops=None)
    peak = stated_peak(torch.cuda.get_device_name(index))
    return Device(type="cuda", backend="nccl", precision=BF16, peak_flops=peak)


def gpu_of(local_rank: int, *, found: int, promised: int, own: bool) -> int | None:
    """Number of the GPU that a process takes; None for the CPU.

    found: GPUs that torch sees. promised: GPUs of this node by the cluster profile, 0 without one. own: Slurm
    has given each process a GPU of its own, which this process sees as number 0.

    Raises BadNodes when fewer are found than promised, UsageError when processes would have to share one.
    """
    if found == 0 and promised == 0:
        return None
    if found == 1 and own:
        return 0
    if found < promised:
        raise BadNodes({host_name(): f"torch sees {found} of the {promised} GPUs of the cluster profile"})
    if local_rank >= found:
        raise UsageError(
            f"process {local_rank + 1} of this machine has no GPU, torch sees {found}: start as many "
            "processes as GPUs, or set CUDA_VISIBLE_DEVICES= (empty) to train on CPUs"
        )
    return local_rank


def stated_peak(name: str) -> float | None:
    """Dense bf16 operations a second that the data sheet states for a GPU of CUDA's name; None for others.

    >>> stated_peak("NVIDIA H100 80GB HBM3"), stated_peak("NVIDIA GeForce RTX 4090"), stated_peak("Tesla T4")
    (989000000000000.0, 165000000000000.0, None)
    """
    word = name.replace(" ", "").lower()
    return next((gpu.peak_flops for key, gpu in GPUS.items() if key.split("-")[0] in word), None)


def measured_flops(device: Device) -> float:
    """Operations a second of a large product in the format that the device trains in: the best of some.

    What stands in for a peak where nobody states one: MFU is then the share of the products' own speed.
    """
    return max(islice(products(device), 30 if device.type == "cpu" else 5))


def products(device: Device) -> Iterator[float]:
    """Operations a second of one large product after another, in the format that the device trains in."""
    # On a CPU that others use too, short ones: some of them run undisturbed.
    size = 512 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if device.precision else torch.float32
    # Random numbers, since equal ones cost a GPU less power and so run faster; from a generator of their own.
    left, right = (torch.empty(size, size, dtype=dtype, device=device.type) for _ in range(2))
    numbers = torch.Generator(left.device).manual_seed(0)
    left.normal_(generator=numbers)
    right.normal_(generator=numbers)
    while True:
        began = time.perf_counter()
        float((left @ right)[0, 0])  # waits for the device
        yield 2 * size**3 / (time.perf_counter() - began)


def peak_memory_bytes(device: Device) -> int:
    """The most that this process has held: tensors on a GPU, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
