"""The options of a command that shares its work with others of its kind: `--join`, and what goes with it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from pipeline.cli.corpus.work import seconds
from pipeline.errors import UsageError

PANEL = "With others"

Join = Annotated[
    bool,
    typer.Option(
        "--join",
        help="Share the work with all that run this command with the same words, on any machines that "
        "share the disk.",
        rich_help_panel=PANEL,
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option("--for", help="Claim nothing more after so long: 90s, 30m, 4h, 2d.", rich_help_panel=PANEL),
]
Grace = Annotated[
    str | None,
    typer.Option(
        help="Give back what is not finished so long after --for or SIGUSR1.",
        show_default="never",
        rich_help_panel=PANEL,
    ),
]
Again = Annotated[bool, typer.Option("--again", help="Try again what was given up.", rich_help_panel=PANEL)]


def limits(together: bool, time_limit: str | None, grace: str | None, again: bool) -> dict[str, float]:
    """The `end` and the `grace` of a worker; raises UsageError for options that need --join."""
    if not together and (time_limit or grace or again):
        raise UsageError("--for, --grace and --again are for several processes; give --join, too")
    return {"end": time.monotonic() + seconds("--for", time_limit), "grace": seconds("--grace", grace)}
