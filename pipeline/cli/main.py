"""The `outbound` command: what the installed script runs."""

from __future__ import annotations

import os
import resource
import signal
import sys

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
    train,
    wandb_sync,
)
from pipeline.cli.app import app, console
from pipeline.cli.interrupts import repeat_lost_interrupts
from pipeline.errors import BadNodes, RunError, exit_code
from slurm import ends
from slurm.codes import INTERRUPTED

OPEN_FILES = 1 << 16


def main() -> None:
    """Run the command line; it leaves with 0 (ok), 1 (failed), 2 (usage) or a code of `slurm.codes`."""
    repeat_lost_interrupts()
    _allow_open_files()
    os.environ["PYTHONSAFEPATH"] = "1"  # processes that we start do not search the user's folder for modules
    try:
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


def complain(error: Exception, code: int) -> int:
    """Say what is wrong in one line on stderr, and to the job that this is a part of; returns the code."""
    ends.note(str(error), error.nodes if isinstance(error, BadNodes) else {})
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
