"""How the processes of a training step ended, by their own accounts.

    $OUTBOUND_ENDS/RANK.json   {"reason": "...", "bad_nodes": {"node7": "..."}}

srun's code is the highest of all its tasks', most of which die of what happened to one.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

FOLDER = "OUTBOUND_ENDS"
"""The variable that holds the folder; it exists. Without the variable nothing is noted."""


def note(rank: int, reason: str, bad_nodes: dict[str, str]) -> None:
    """Note why a rank ends by an error; bad_nodes: those that cannot train, with the reason of each."""
    if folder := os.environ.get(FOLDER):
        path = Path(folder, f"{rank}.json")
        attempt = path.with_suffix(".part")
        with suppress(OSError):  # a disk that is full must not hide the error itself
            attempt.write_text(json.dumps({"reason": reason, "bad_nodes": bad_nodes}) + "\n")
            attempt.replace(path)
