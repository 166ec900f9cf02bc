"""What a rank finds out about its node, and measures of it with the others."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import xxhash
from pydantic import BaseModel

import pipeline
from pipeline.checkpoint.attempts import Attempt, host_name
from pipeline.distributed.device import Device, products
from pipeline.distributed.ranks import Rank, gather_int64, gather_json
from pipeline.train.nodes.judge import Facts, Speed, clock_offsets, ring

DISTRIBUTIONS = "outbound-gpt", "torch", "deepspeed"
PACKAGES = "dataprep", "model", "pipeline", "slurm"
CLOCK_ROUNDS = 3
REPEATS = 3
"""Exchanges that are timed after a first one, which sets up the connection; the best counts."""


def facts(attempt: Attempt, settings: BaseModel, device: Device) -> Facts:
    """What this rank finds out without the others."""
    temporary = os.environ.get("TMPDIR", "")  # that of a login node need not be here
    return Facts(
        node=host_name(),
        device=device_name(device),
        same={
            "Python": platform.python_version(),
            **{name: _version(name) for name in DISTRIBUTIONS},
            "the hash of outbound's source": _hash_of_source(),
            "the hash of the configuration": xxhash.xxh3_64_hexdigest(settings.model_dump_json().encode()),
        },
        sees_run=attempt.folder.with_suffix(".json").exists(),
        run_free_bytes=shutil.disk_usage(attempt.run).free,
        temporary_free_bytes=shutil.disk_usage(temporary if os.path.isdir(temporary) else "/tmp").free,
    )


def device_name(device: Device) -> str:
    """Name of the GPU, or "cpu"."""
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type


def clocks(device: Device) -> list[float]:
    """Seconds by which each rank's clock is ahead of the median; every rank must call it."""
    rounds = []
    for _ in range(CLOCK_ROUNDS):
        dist.barrier()
        rounds.append([nanoseconds / 1e9 for (nanoseconds,) in gather_int64([time.time_ns()], device.type)])
    return clock_offsets(rounds)


def speeds(nodes: Sequence[str], rank: Rank, device: Device) -> list[Speed]:
    """Measure products on all ranks at once, then the links between nodes; every rank must call it.

    nodes: of each rank.
    """
    flops = _flops(device)
    dist.barrier()  # a rank that is still multiplying would slow a link
    link = _link(nodes, rank, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # training needs the room in other sizes
    return [Speed(flops=flops, link=link) for flops, link in gather_json([flops, link], device.type)]


def all_reduce(device: Device) -> float | None:
    """Bytes a second that each rank sends and receives in an all-reduce over all; None for a single rank.

    As of a ring: 2 (n - 1) / n of the tensor's bytes pass through each of n ranks.
    """
    ranks = dist.get_world_size()
    if ranks == 1:
        return None
    tensor = _message(device)
    seconds = _best_of(lambda: dist.all_reduce(tensor), device)
    return 2 * (ranks - 1) / ranks * tensor.nbytes / seconds


def _flops(device: Device) -> float:
    """Operations a second, once a GPU is hot, which slows it down: the median of the second half."""
    until = time.perf_counter() + (2.0 if device.type == "cuda" else 0.1)
    measured = []
    for flops in products(device):
        measured.append(flops)
        if time.perf_counter() > until:
            break
    return median(measured[len(measured) // 2 :])


def _link(nodes: Sequence[str], rank: Rank, device: Device) -> float | None:
    """Bytes a second to the better reached neighbour of this rank's node, by its first rank alone."""
    leaders = [nodes.index(node) for node in dict.fromkeys(nodes)]
    best = None
    for pairs in ring(len(leaders)):
        for pair in pairs:
            members = [leaders[place] for place in pair]
            if rank.global_rank in members:
                members.remove(rank.global_rank)
                best = max(best or 0.0, _exchange(members[0], device))
    return best


def _exchange(other: int, device: Device) -> float:
    """Bytes a second that go each way between this rank and another at the same time."""
    sent, received = _message(device), _message(device)

    def exchange() -> None:
        operations = [dist.P2POp(dist.isend, sent, other), dist.P2POp(dist.irecv, received, other)]
        for request in dist.batch_isend_irecv(operations):
            request.wait()

    return sent.nbytes / _best_of(exchange, device)


def _message(device: Device) -> torch.Tensor:
    """64 MB on a GPU, 4 MB on a CPU."""
    return torch.zeros((64 if device.type == "cuda" else 4) << 18, device=device.type)


def _best_of(exchange: Callable[[], object], device: Device) -> float:
    """Seconds of the fastest of some exchanges."""
    best = float("inf")
    for repeat in range(1 + REPEATS):
        began = time.perf_counter()
        exchange()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if repeat:
            best = min(best, time.perf_counter() - began)
    return best


def _version(distribution: str) -> str:
    with suppress(PackageNotFoundError):
        return version(distribution)
    return "not installed"


def _hash_of_source() -> str:
    """Hash of all modules of our packages, loaded or not."""
    digest, root = xxhash.xxh3_64(), Path(pipeline.__file__).parents[1]
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
