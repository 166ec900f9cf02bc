"""The one error that a corpus command shows its user."""


class DataError(Exception):
    """Bad input or a broken promise of the corpus; the message names file, value and remedy."""
