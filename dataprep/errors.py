"""The errors that a corpus command shows its user as one line, without a traceback."""

from __future__ import annotations

from pathlib import Path


class DataError(Exception):
    """Bad input or a broken promise of the corpus; the message names file, value and remedy."""


class UsageError(DataError):
    """The command or its settings are wrong; nothing was started (exit 2)."""


def unreadable(path: Path, error: Exception) -> DataError:
    """What to tell of a published file that cannot be read."""
    why = getattr(error, "strerror", None) or error
    return DataError(
        f"{path}: cannot be read ({why}); restore it from a copy; `outbound corpus verify` says what else"
    )
