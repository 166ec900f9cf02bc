"""`outbound corpus verify`: check a corpus, alone or with others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, console, emit, progress
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus
from pipeline.cli.corpus.joining import PANEL, Again, Grace, Join, TimeLimit, limits
from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from dataprep.audit.verify import Report
    from dataprep.corpus.directory import Corpus

SHOWN = 10
"""Unknown files that are named on the terminal; --json names all."""


@corpus.command()
def verify(
    directory: Directory,
    tokens: Annotated[
        list[Path] | None, typer.Option(help="Also check these token shards of it; may be repeated.")
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Give up missing files and take altered ones: write manifest.json anew."
        ),
    ] = False,
    workers: Workers = CORES,
    together: Join = False,
    time_limit: TimeLimit = None,
    grace: Grace = None,
    again: Again = False,
    once: Annotated[
        Path | None,
        typer.Option(
            help="Keep the report in this file. Whoever finds it there prints it, and checks nothing.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check every file and that all counts add up, also between steps; exits 1 when something is wrong.

    With --join all processes print the same report. One that was stopped before (SIGUSR1, SIGTERM, --for)
    ends with 75; another goes on from there if no file has changed.
    """
    from dataprep.corpus.directory import Corpus

    bounds = limits(together, time_limit, grace, again)
    if together and accept:
        raise UsageError("--accept is for one process: leave --join out")
    if once and not together:
        raise UsageError("--once is for several processes; give --join, too")
    opened, shards, given_up = Corpus.open(directory, damaged=True), tokens or [], list[str]()
    if together:
        found = _join(directory, shards, once, workers, again, bounds)
    else:
        found, given_up = _alone(opened, shards, accept, workers)
    lines = [f"{name}: given up" for name in given_up]
    lines += found.problems or ["every file and every count is right"]
    if found.unknown:
        named = ", ".join(found.unknown[:SHOWN]) + (" ..." if len(found.unknown) > SHOWN else "")
        why = "belong to nothing (`outbound corpus gc` removes its garbage)"
        lines.append(f"{len(found.unknown):,} {why}: {named}")
    if found.unfinished:
        why = "not in manifest.json yet: a command is at work here or was killed; run it again"
        lines.append(f"{len(found.unfinished):,} files are {why}")
    result = {"problems": found.problems, "unknown": found.unknown}
    emit(result | ({"given_up": given_up} if accept else {}), json, "\n".join(lines))
    if found.problems:
        raise typer.Exit(1)


def _alone(opened: Corpus, tokens: Sequence[Path], accept: bool, workers: int) -> tuple[Report, list[str]]:
    """Verify with processes of this command only; returns also what was given up by --accept."""
    from dataprep.audit.verify import all_problems, files, report
    from dataprep.corpus import known_files
    from dataprep.pack import manifest
    from dataprep.store import locks
    from dataprep.store.calls import here

    given_up = list[str]()
    with locks.reading(opened.root):
        if accept:
            given_up += known_files.accept(opened.root)
            given_up += [str(path / name) for path in tokens for name in manifest.accept(path)]
        with progress("verify", files(opened, tokens), "files") as tick:
            found = all_problems(opened, tokens, here(workers, tick))
        return report(opened, found), given_up


def _join(
    directory: Path,
    tokens: Sequence[Path],
    once: Path | None,
    processes: int,
    again: bool,
    bounds: dict[str, float],
) -> Report:
    """Take part in a verification."""
    from dataprep.audit.gc import VERIFY
    from dataprep.audit.join import join
    from dataprep.store.presence import Presence, Stopped
    from dataprep.store.workers import new_worker
    from dataprep.work import try_again
    from slurm.codes import RESUME_EXIT

    if not os.access(directory, os.W_OK):
        raise RunError(f"{directory}: processes that join have to write there; verify without --join")
    if again:
        try_again(directory, VERIFY)
    try:
        presence = Presence(directory, new_worker(VERIFY, processes), bounds["end"], bounds["grace"])
        return join(presence, tokens, once, progress)
    except Stopped:
        console.print("stopped before all was checked; any process goes on from here")
        raise typer.Exit(RESUME_EXIT) from None
