"""Before its first step a run takes the largest one that will come, at a learning rate of 0."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.launch import launch


@pytest.mark.parametrize("rehearse", [True, False])
def test_the_rehearsal_takes_the_full_batch_that_the_ramp_only_reaches_later(
    tiny_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, rehearse: bool
) -> None:
    run, notes = tiny_run(), tiny_run().home / "notes"
    (run.home / "run.yaml").write_text(yaml.safe_dump(run.settings))
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    once = ("parallel.pipeline=1", "train.tokens=640", f"guards.rehearse={str(rehearse).lower()}")
    launch([str(run.home / "run.yaml"), *once], 1, "noting_worker")
    taken = [json.loads(line) for line in notes.read_text().splitlines()]
    trained = [[row["batch"], row["lr"]] for row in run.metrics() if "batch" in row]
    assert taken == [*([[12, 0.0]] if rehearse else []), *trained]
    assert trained[0][0] < 12
