"""Texts of `outbound generate --log-wandb`: `RUN/generated/step-STEP-ID.jsonl`, a row a text.

They are kept in the run first. Weights & Biases gets them as a table in the line of their step, from this
command or from whatever sends the run's steps later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from dataprep.store import files
from pipeline.errors import RunError
from pipeline.monitor.evaluations import Table
from pipeline.monitor.run_files import whole_lines
from pipeline.monitor.wandb_history import GENERATED

FOLDER = "generated"


class Generated(NamedTuple):
    """Texts that one command wrote with a step's checkpoint. id: hash of their file."""

    id: str
    step: int
    rows: list[dict[str, Any]]


def keep(run: Path, step: int, how: str, texts: Sequence[dict[str, Any]]) -> Path:
    """Put texts, {"prompt", "text"} each, into a file of the run. how: their settings, for people."""
    rows = [{"step": step, "how": how, "prompt": each["prompt"], "text": each["text"]} for each in texts]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = run / FOLDER / f"step-{step:08d}-{xxhash.xxh3_64_hexdigest(content)}.jsonl"
    path.parent.mkdir(exist_ok=True)
    files.replace(path, content)
    return path


def of_run(run: Path) -> list[Generated]:
    """What has been kept of a run, in the order of steps. Raises RunError when a file is damaged."""
    found = []
    for path in sorted((run / FOLDER).glob("step-*.jsonl")):
        rows = whole_lines(path)
        if not all(isinstance(row, dict) and {"step", "how", "prompt", "text"} <= row.keys() for row in rows):
            raise RunError(f"{path}: damaged: restore it from a copy, or remove it")
        if rows:
            found.append(Generated(path.stem.rpartition("-")[2], rows[0]["step"], rows))
    return found


def tables(found: Sequence[Generated]) -> dict[str, Table]:
    """The table of some texts; none of none."""
    rows = [[row["how"], row["prompt"], row["text"]] for each in found for row in each.rows]
    return {GENERATED: (["how", "prompt", "text"], rows)} if rows else {}
