"""`outbound corpus work`: a worker among many."""

from __future__ import annotations

import re
import time
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, console, emit, progress
from pipeline.cli.corpus import crawl_options as options
from pipeline.cli.corpus.app import CORES, Directory, corpus
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from dataprep.crawl.settings import CrawlSettings

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Stage(StrEnum):
    """The work of a worker: reading dumps, the crawl, or all that comes after it (extract ... shard)."""

    links = "links"
    fetch = "fetch"
    cpu = "cpu"


@corpus.command()
@options.with_settings()
def work(
    directory: Directory,
    settings: CrawlSettings,
    stage: Annotated[Stage, typer.Option(help="Which steps to take part in.")] = Stage.cpu,
    processes: Annotated[
        int, typer.Option(min=1, help="Parts that are made at once.", show_default="cores")
    ] = CORES,
    time_limit: Annotated[
        str | None, typer.Option("--for", help="Claim nothing more after so long: 90s, 30m, 4h, 2d.")
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            help="Give back what is not finished so long after --for or SIGUSR1.", show_default="never"
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Try again what was given up.")] = False,
    json: Json = False,
) -> None:
    """Take part in the work on a corpus, beside any number of workers on machines that share its disk.

    A worker of --stage fetch is one process, which crawls --partitions at once; all such workers should have
    the same settings of the crawl. It stops at once, without loss, when it is asked to.
    Ends with 0 when all is done, with 75 when it was stopped before (SIGUSR1, SIGTERM, --for), and with 1
    when parts failed too often, when this machine cannot go on, and when pages are not fetched yet.
    """
    from dataprep.store.presence import Presence, Stopped
    from dataprep.store.workers import new_worker
    from dataprep.work import KINDS, crawler, try_again
    from dataprep.work import work as be_worker
    from pipeline.monitor.crawl_view import watching
    from slurm.codes import RESUME_EXIT

    crawls = stage is Stage.fetch
    if crawls:
        settings.refuse_without_contact()
    kind = crawler(settings, partial(watching, directory, None, console)) if crawls else KINDS[stage.value]
    end = time.monotonic() + seconds("--for", time_limit)
    left = 0.0 if crawls else seconds("--grace", grace)
    worker = new_worker(stage.value, 1 if crawls else processes)
    if again:
        try_again(directory)
    try:
        done = be_worker(kind, Presence(directory, worker, end=end, grace=left), progress)
    except Stopped:
        console.print("stopped before all was done; any worker goes on from here")
        raise typer.Exit(RESUME_EXIT) from None
    emit(
        {"worker": worker.name, "made": worker.made, "failed": worker.failed, "done": done},
        json,
        f"{done}; {worker.made:,} parts were made here.",
    )


def seconds(option: str, text: str | None) -> float:
    """The length of time of an option in seconds, without end if there is none.

    Raises UsageError for another form.

    >>> seconds("--for", "90s"), seconds("--for", "1.5h"), seconds("--for", None)
    (90.0, 5400.0, inf)
    """
    if text is None:
        return float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        raise UsageError(f"{option} {text}: give a number and a unit, such as 90s, 30m, 4h or 2d")
    return float(match[1]) * UNITS_S[match[2]]
