"""The errors that the command line shows as one line, without a traceback."""


class RunError(Exception):
    """Something failed that the user can mend; the message names file, value and remedy (exit 1)."""


class UsageError(RunError):
    """The command or its configuration is wrong; nothing was started (exit 2)."""
