"""The `outbound` command: what the installed script runs."""

from __future__ import annotations

import sys

from pipeline.cli import corpus, tokens  # noqa: F401 (importing a group registers its commands)
from pipeline.cli.app import app, console

OK, FAILED, USAGE = 0, 1, 2


def main() -> None:
    """Run the command line and leave with 0 (ok), 1 (failed) or 2 (usage)."""
    import click

    from dataprep.errors import DataError
    from pipeline.errors import RunError, UsageError

    try:
        code = app(standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.exceptions.Abort:
        code = FAILED
    except UsageError as error:
        code = complain(error, USAGE)
    except (DataError, RunError, OSError) as error:
        code = complain(error, FAILED)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else OK)


def complain(error: Exception, code: int) -> int:
    console.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
