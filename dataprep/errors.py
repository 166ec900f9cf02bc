"""The one error that a corpus command shows its user."""

from __future__ import annotations

from pathlib import Path


class DataError(Exception):
    """Bad input or a broken promise of the corpus; the message names file, value and remedy."""


def unreadable(path: Path, error: Exception) -> DataError:
    """What to tell of a published file that cannot be read."""
    why = getattr(error, "strerror", None) or error
    return DataError(
        f"{path}: cannot be read ({why}); restore it from a copy; `outbound corpus verify` says what else"
    )
