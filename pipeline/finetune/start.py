"""A fine-tuning from its configuration to its end: as one rank of several, or as local processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.distributed.launch import launch
from pipeline.distributed.ranks import Rank
from pipeline.distributed.stop import StopRequest
from pipeline.finetune.settings import FinetuneConfig


def finetune_as_rank(config: FinetuneConfig, rank: Rank, stop: StopRequest) -> bool:
    """Train all seeds as one process, alone or of several; returns whether a stop request ended it.

    Raises UsageError, RunError or DataError for what the user can mend.
    """
    import torch.distributed as dist

    from pipeline.distributed.device import find_device
    from pipeline.distributed.ranks import init_plain
    from pipeline.finetune.group import Group
    from pipeline.finetune.loop import finetune
    from pipeline.finetune.task import Task
    from pipeline.train.run_log import log_to

    log_to(config.finetune.dir / "log.txt", rank.global_rank)
    device = find_device(rank.local_rank, "fp32")
    task = Task.of(config)
    if rank.world_size == 1:
        return finetune(task, Group(rank, device), stop)
    init_plain(rank, device.backend)
    try:
        return finetune(task, Group(rank, device), stop)
    finally:
        dist.destroy_process_group()


def finetune_in_processes(path: Path, overrides: Sequence[str], nproc: int) -> None:
    """Train in local processes, which read the configuration anew."""
    launch([str(path), *overrides], nproc, worker="pipeline.finetune.worker")
