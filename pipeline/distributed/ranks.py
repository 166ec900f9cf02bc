"""Rank discovery, process-group set-up, and small all-gathers."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipeline.errors import RunError, UsageError

SIOCGIFADDR = 0x8915
"""ioctl(2) of Linux that returns an interface's IPv4 address: bytes 20 to 24 of a `struct ifreq`."""


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


def is_slurm_task() -> bool:
    """Whether srun has started this process, with no launcher between."""
    env = os.environ  # a batch script itself has no step; torchrun inside a step starts processes of its own
    return "SLURM_PROCID" in env and "SLURM_STEP_ID" in env and "TORCHELASTIC_RUN_ID" not in env


def rank_from_environment() -> Rank | None:
    """Read what torchrun, `outbound train --nproc` or srun has set; None when there is no other process.

    A task of Slurm's own goes by Slurm's variables: RANK may have been inherited from an outer job.
    """
    env = os.environ
    if is_slurm_task():
        names = "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"
    elif "RANK" in env:
        names = "RANK", "WORLD_SIZE", "LOCAL_RANK"
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
    with _meeting(rank, backend):
        from pipeline.distributed.deepspeed_workarounds import import_environment, skip_shared_memory_build

        os.environ |= import_environment()
        import deepspeed

        skip_shared_memory_build()
        deepspeed.init_distributed(
            dist_backend=backend, auto_mpi_discovery=False, verbose=False, timeout=timeout
        )


def init_plain(rank: Rank, backend: str) -> None:
    """As `init_distributed`, for a training without DeepSpeed; collectives wait 30 minutes, as torch does."""
    with _meeting(rank, backend):
        import torch.distributed as dist

        dist.init_process_group(backend)


@contextmanager
def _meeting(rank: Rank, backend: str) -> Iterator[None]:
    """Let torch find this rank's place, and explain why it does not meet the others."""
    import torch
    from torch.distributed import DistError

    # DeepSpeed takes LOCAL_RANK for the number of the GPU, which is 0 where each process sees one of its own.
    local = torch.cuda.current_device() if backend == "nccl" else rank.local_rank
    os.environ |= {
        "RANK": str(rank.global_rank),
        "WORLD_SIZE": str(rank.world_size),
        "LOCAL_RANK": str(local),
    }
    if backend == "gloo" and (interface := interface_towards(os.environ["MASTER_ADDR"])):
        # Gloo looks its own host name up, and takes the loopback where compute nodes cannot resolve theirs.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    try:
        yield
    except DistError as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"rank {rank.global_rank} cannot meet the others at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} (MASTER_ADDR, MASTER_PORT): {reason}; "
            "choose another MASTER_PORT, or end what listens there"
        ) from None


def interface_towards(address: str) -> str | None:
    """Find the network interface over which this machine reaches an address; None if it has none.

    >>> interface_towards("127.0.0.1")
    'lo'
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
        except OSError:
            return None
        own = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an IPv4 address
                found = fcntl.ioctl(probe, SIOCGIFADDR, name.encode()[:15].ljust(256, b"\0"))
                if found[20:24] == own:
                    return name
    return None


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
