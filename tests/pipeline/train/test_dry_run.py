"""Before its first step a run takes the largest one that will come, at a learning rate of 0."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow(5)


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_dry_run_takes_the_full_batch_that_the_ramp_only_reaches_later(
    tiny_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    run, notes = tiny_run(), tiny_run().home / "notes"
    monkeypatch.setenv("NOTES", str(notes))
    once = ("parallel.pipeline_stages=1", "train.tokens=640", f"guards.dry_run_batch={str(dry_run).lower()}")
    ranks = run.fork(*once, nproc=1, worker="support.workers.noting")
    assert ranks.wait() == [0], ranks.told()
    taken = [json.loads(line) for line in notes.read_text().splitlines()]
    trained = [[row["batch"], row["lr"]] for row in run.metrics() if "batch" in row]
    assert taken == [*([[12, 0.0]] if dry_run else []), *trained]
    assert trained[0][0] < 12
