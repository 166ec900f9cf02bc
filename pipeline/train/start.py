"""A training run from its configuration to its summary: as one rank of several, or as local processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.checkpoint import attempts
from pipeline.config import RunConfig, pinning, require_layout
from pipeline.data.sources import Sources
from pipeline.data.token_stream import check_size
from pipeline.distributed.launch import launch
from pipeline.distributed.ranks import Rank
from pipeline.distributed.stop import StopRequest
from pipeline.errors import RunError
from pipeline.monitor.run_files import read_json

Summary = dict[str, Any]


def train_as_rank(config: RunConfig, sources: Sources, rank: Rank) -> Summary:
    """Train as one process of those that srun or torchrun has started."""
    from pipeline.train.loop import train  # with torch, which the process that starts others does not need
    from pipeline.train.run_log import log_to
    from pipeline.train.worker import describe_error

    log_to(config.run.dir / "log.txt", rank.global_rank)
    try:
        return train(config, sources, rank, StopRequest())
    except Exception as error:
        raise describe_error(error, rank.global_rank) from None


def train_in_processes(
    path: Path, overrides: Sequence[str], config: RunConfig, sources: Sources, nproc: int | None
) -> Summary:
    """Train in `nproc` local processes, one a pipeline stage when None; they read the configuration anew.

    A pack may publish while they start: they take the generation of the tokens that `sources` has.
    Raises UsageError when the layout does not fit so many processes, RunError when one of them has failed.
    """
    processes = nproc or config.parallel.pipeline_stages
    require_layout(config, processes)
    try:
        launch([str(path), *overrides, *pinning(sources)], processes)
    except RunError:
        for generation, shard in sources.mapped:
            check_size(generation, shard)  # SIGBUS kills what reads a shard that was cut meanwhile
        raise
    run = config.run.dir
    summaries = (attempts.folder(run, number) / "summary.json" for number in reversed(attempts.numbers(run)))
    summary: Summary = read_json(next(path for path in summaries if path.exists()))
    return summary
