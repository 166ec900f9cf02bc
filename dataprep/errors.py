"""The one error that a corpus command shows its user."""

from __future__ import annotations

from pathlib import Path


class DataError(Exception):
    """Bad input or a broken promise of the corpus; the message names file, value and remedy."""


def misplaced(error: OSError) -> DataError | None:
    """What to tell of a path where no file stands, or something else than one; None of other errors."""
    kinds = FileNotFoundError | IsADirectoryError | NotADirectoryError
    if not isinstance(error, kinds) or not error.filename:
        return None
    return DataError(f"{error.filename}: {error.strerror}; choose another path, or restore it from a copy")


def unreadable(path: Path, error: Exception) -> DataError:
    """What to tell of a published file that cannot be read."""
    why = getattr(error, "strerror", None) or error
    return DataError(
        f"{path}: cannot be read ({why}); restore it from a copy; `outbound corpus verify` says what else"
    )
