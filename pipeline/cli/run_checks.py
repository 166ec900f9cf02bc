"""The checks of a whole run before anything starts or waits, the same for `train` and `submit train`."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.places import refuse_taken
from pipeline.config import RunConfig, check_layout, examine
from pipeline.data.sources import Sources
from pipeline.data.token_stream import check_size
from pipeline.train.resumable import require_resumable


def checked_run(
    path: Path, overrides: list[str], processes: int | None, ahead: bool = False
) -> tuple[RunConfig, Sources | None]:
    """Read a run's configuration, and check all that can be checked without a tensor or a device.

    processes: how many will train; None: one a pipeline stage. ahead: the tokens need not be packed yet;
    without them there are no sources. Raises UsageError or RunError that lists every mistake with its place.
    """
    found = examine(path, overrides, ahead)
    found.check(
        "parallel batch", lambda config: check_layout(config, processes or config.parallel.pipeline_stages)
    )
    if "run" in found.sound:
        with found.gather("run.dir"):
            refuse_taken(found.config.run.dir)
    if found.sources is not None:
        with found.gather("data"):
            for generation, shard in found.sources.mapped:
                check_size(generation, shard)
        if found.is_whole:
            count = processes or found.config.parallel.pipeline_stages
            with found.gather():
                require_resumable(found.config, found.sources, count)
    found.refuse()
    return found.config, found.sources
