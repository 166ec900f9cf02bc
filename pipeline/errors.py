"""The errors that the command line shows as one line, without a traceback."""

from dataprep.errors import UsageError
from slurm.codes import SUPERSEDED_EXIT

__all__ = ["SUPERSEDED_EXIT", "RunError", "Superseded", "UsageError", "exit_code"]


class RunError(Exception):
    """Something failed that the user can mend; the message names file, value and remedy (exit 1)."""


class Superseded(RunError):
    """Another attempt has taken over the run (exit SUPERSEDED_EXIT)."""


def exit_code(error: BaseException) -> int:
    """Exit code of a process that ends with this error: 1, 2 or SUPERSEDED_EXIT."""
    if isinstance(error, Superseded):
        return SUPERSEDED_EXIT
    return 2 if isinstance(error, UsageError) else 1
