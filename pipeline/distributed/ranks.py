"""Rank discovery, process-group set-up, and small all-gathers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipeline.errors import RunError, UsageError


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One process of a run."""

    global_rank: int
    world_size: int
    """Processes of the run."""
    local_rank: int
    """Number of the process on its node."""
    srun: bool = False
    """Whether it is a task of Slurm's own, with no launcher above it."""

    @property
    def is_first(self) -> bool:
        """Whether it writes what the run has once: checkpoints' manifests, metrics, W&B."""
        return self.global_rank == 0


def rank_from_environment() -> Rank | None:
    """Read what torchrun, `outbound train --nproc` or srun has set; None when there is no other process."""
    env = os.environ
    if "RANK" in env:
        names = "RANK", "WORLD_SIZE", "LOCAL_RANK"
    elif "SLURM_PROCID" in env and "SLURM_STEP_ID" in env:  # a batch script itself has no step
        names = "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"
    else:
        return None
    missing = [name for name in (*names, "MASTER_ADDR", "MASTER_PORT") if name not in env]
    if missing:
        raise UsageError(
            f"{names[0]} is set, but not {', '.join(missing)}: start by srun, torchrun or --nproc"
        )
    global_rank, world_size, local_rank = (int(env[name]) for name in names)
    return Rank(
        global_rank=global_rank,
        world_size=world_size,
        local_rank=local_rank,
        srun=names[0] == "SLURM_PROCID",
    )


def init_distributed(rank: Rank, backend: str, timeout_s: float) -> None:
    """Form the process group; returns when all ranks have come. Raises RunError when the address is taken.

    A rank that does not come is for the watchdog to find.

    timeout_s: how long a collective waits for a rank, longer than the watchdog does; 0 waits a week.
    """
    timeout = timedelta(seconds=timeout_s) if timeout_s else timedelta(days=7)
    with _meeting(rank):
        import deepspeed

        from pipeline.distributed.deepspeed_workarounds import skip_shared_memory_build

        skip_shared_memory_build()
        deepspeed.init_distributed(
            dist_backend=backend, auto_mpi_discovery=False, verbose=False, timeout=timeout
        )


def init_plain(rank: Rank, backend: str) -> None:
    """As `init_distributed`, for a training without DeepSpeed; collectives wait 30 minutes, as torch does."""
    with _meeting(rank):
        import torch.distributed as dist

        dist.init_process_group(backend)


@contextmanager
def _meeting(rank: Rank) -> Iterator[None]:
    """Let torch find this rank's place, and explain why it does not meet the others."""
    os.environ |= {
        "RANK": str(rank.global_rank),
        "WORLD_SIZE": str(rank.world_size),
        "LOCAL_RANK": str(rank.local_rank),
    }
    from torch.distributed import DistError

    try:
        yield
    except DistError as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"rank {rank.global_rank} cannot meet the others at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} (MASTER_ADDR, MASTER_PORT): {reason}; "
            "choose another MASTER_PORT, or end what listens there"
        ) from None


def gather_int64(values: list[int], device: str) -> list[list[int]]:
    """Gather the same number of integers from every rank, each modulo 2^64, in rank order.

    Returns them in [0, 2^64).
    """
    import torch
    import torch.distributed as dist

    signed = [(value + 2**63) % 2**64 - 2**63 for value in values]
    mine = torch.tensor(signed, dtype=torch.int64, device=device)
    found = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(found, mine)
    return [[value % 2**64 for value in row] for row in torch.stack(found).tolist()]


def gather_json(value: Any, device: str) -> list[Any]:
    """Gather one JSON value from every rank, in rank order, on every rank. (torch's own way is pickle.)"""
    import torch
    import torch.distributed as dist

    encoded = json.dumps(value).encode()
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(encoded)], device=device))
    longest = max(int(size) for size in sizes)
    mine = torch.zeros(longest, dtype=torch.uint8, device=device)
    mine[: len(encoded)] = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
    texts = [torch.empty_like(mine) for _ in sizes]
    dist.all_gather(texts, mine)
    decoded = (bytes(text[: int(size)].cpu().numpy()) for text, size in zip(texts, sizes, strict=True))
    return [json.loads(text) for text in decoded]
