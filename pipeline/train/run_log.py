"""The log of one process of a run."""

from __future__ import annotations

import logging
from pathlib import Path


def log_to(path: Path, rank: int) -> None:
    """Send the log to a file that all ranks append to; warnings of the first rank also go to the terminal.

    A rank logs to the run's directory until it has its attempt, and then to the attempt's folder.
    """
    logger = logging.getLogger("outbound")
    logger.setLevel(logging.INFO)
    for earlier in list(logger.handlers):
        logger.removeHandler(earlier)
        earlier.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, delay=True)  # no file where nothing is logged
    handler.setFormatter(logging.Formatter(f"%(asctime)s rank {rank} %(levelname)s %(message)s"))
    logger.addHandler(handler)
    if rank == 0:
        terminal = logging.StreamHandler()
        terminal.setLevel(logging.WARNING)
        logger.addHandler(terminal)


def log_file() -> str:
    """Path of the file that the log goes to."""
    handlers = logging.getLogger("outbound").handlers
    return next(handler.baseFilename for handler in handlers if isinstance(handler, logging.FileHandler))
