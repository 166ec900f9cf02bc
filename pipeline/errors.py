"""The errors that the command line shows as one line, without a traceback."""

from dataprep.errors import UsageError

__all__ = ["RunError", "UsageError"]


class RunError(Exception):
    """Something failed that the user can mend; the message names file, value and remedy (exit 1)."""
