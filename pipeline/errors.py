"""The errors that the command line shows as one line, without a traceback."""

from dataprep.errors import UsageError

__all__ = ["SUPERSEDED_EXIT", "RunError", "Superseded", "UsageError", "exit_code"]

SUPERSEDED_EXIT = 76
"""Exit code of an attempt whose run another attempt has taken over: its job must not be queued again."""


class RunError(Exception):
    """Something failed that the user can mend; the message names file, value and remedy (exit 1)."""


class Superseded(RunError):
    """Another attempt has taken over the run (exit SUPERSEDED_EXIT)."""


def exit_code(error: BaseException) -> int:
    """Exit code of a process that ends with this error: 1, 2 or SUPERSEDED_EXIT."""
    if isinstance(error, Superseded):
        return SUPERSEDED_EXIT
    return 2 if isinstance(error, UsageError) else 1
