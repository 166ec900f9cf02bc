"""The errors that the command line shows as one line, without a traceback."""

from dataprep.errors import UsageError

__all__ = ["SUPERSEDED_EXIT", "RunError", "Superseded", "UsageError"]

SUPERSEDED_EXIT = 76
"""Exit code of an attempt whose run another attempt has taken over: its job must not be queued again."""


class RunError(Exception):
    """Something failed that the user can mend; the message names file, value and remedy (exit 1)."""


class Superseded(RunError):
    """Another attempt has taken over the run (exit SUPERSEDED_EXIT)."""
