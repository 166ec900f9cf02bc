"""The `outbound` command: what the installed script runs."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

import typer
from rich.markup import escape

from dataprep.errors import DataError
from dataprep.store.os_errors import explain_os_error
from pipeline.cli import (  # noqa: F401 (registers)
    config_reference,
    corpus,
    demo,
    evaluate,
    export,
    finetune,
    generate,
    job,
    jobs,
    monitor,
    pack,
    plan,
    preflight,
    recipes,
    status,
    submit,
    submit_run,
    tokens,
    trace,
    train,
    wandb_sync,
)
from pipeline.cli.app import app, console
from pipeline.cli.interrupts import repeat_lost_interrupts
from pipeline.errors import BadNodes, RunError, UsageError, exit_code
from slurm import ends
from slurm.codes import INTERRUPTED

OPEN_FILES = 1 << 16
BadCommandLine: Any = typer.BadParameter.__mro__[2]
"""`ClickException`: typer may carry a click of its own, whose classes have no public name."""


def main() -> None:
    """Run the command line; it leaves with 0 (ok), 1 (failed), 2 (usage) or a code of `slurm.codes`.

    With --json, an error is a JSON object on stdout, too: {"error": message, "code": exit code}.
    """
    repeat_lost_interrupts()
    _allow_open_files()
    os.environ["PYTHONSAFEPATH"] = "1"  # processes that we start do not search the user's folder for modules
    try:
        if "--json" in sys.argv:
            sys.exit(_run_for_programs())
        app()
    except (SystemExit, KeyboardInterrupt) as ended:
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again, it ends no other way
        console.print("stopped; the same command goes on from here")
        sys.exit(INTERRUPTED)
    except (DataError, RunError) as error:
        sys.exit(complain(error, exit_code(error)))
    except OSError as error:
        sys.exit(complain(explain_os_error(error) or error, exit_code(error)))


def _run_for_programs() -> int:
    """Run the command line with --json; returns its exit code. A wrong command line is a JSON object, too."""
    try:
        return int(app(standalone_mode=False) or 0)
    except BadCommandLine as error:
        return complain(UsageError(error.format_message()), 2)


def complain(error: Exception, code: int) -> int:
    """Show what is wrong in one line on stderr, with --json as an object on stdout, too, and note it for the
    job that this is a part of; returns the code."""
    ends.note(str(error), error.nodes if isinstance(error, BadNodes) else {})
    if "--json" in sys.argv:
        print(json.dumps({"error": str(error), "code": code}), flush=True)
    console.print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
    return code


def _allow_open_files() -> None:
    """Raise the soft limit, often 1,024, for us and our workers: a file that is mapped counts as open, and
    deduplication maps the index of every increment before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


if __name__ == "__main__":
    main()
