"""What DeepSpeed does with our workarounds in place, and that it still does otherwise without them.

Those that are not here have a test elsewhere, which their docstrings name.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.distributed import deepspeed_workarounds
from support.patience import patient

of_ranks = pytest.mark.slow(38)
"""Tests that start two ranks, or look at what they did: they share these."""

TESTS = Path(__file__).parents[2]


@dataclass(frozen=True)
class Seen:
    """What one of the two ranks of tests/support/workers/workarounds.py noted and wrote."""

    notes: dict[str, Any]
    out: str
    err: str


@pytest.fixture(scope="module")
def in_place(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    return watch(tmp_path_factory.mktemp("in_place"))


@pytest.fixture(scope="module")
def left_out(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    return watch(tmp_path_factory.mktemp("left_out"), "left out")


Both = tuple[list[Seen], list[Seen]]


@pytest.fixture
def both(in_place: list[Seen], left_out: list[Seen]) -> Both:
    return in_place, left_out


@of_ranks
def test_standard_output_stays_empty(both: Both) -> None:
    in_place, left_out = both
    assert [rank.out for rank in in_place] == ["", ""]
    printed = "".join(rank.out for rank in left_out)
    assert "get_accelerator" in printed, "import_environment"
    assert "stage=0 layers=" in printed, "quiet"


@of_ranks
def test_no_warning_of_torch_reaches_the_terminal(both: Both) -> None:
    in_place, left_out = both
    assert [rank.err for rank in in_place if "Warning" in rank.err] == []
    warned = "".join(rank.err for rank in left_out)
    assert "is deprecated" in warned, "ignore_deprecations"
    assert "c10d::broadcast_" in warned, "untracked_broadcasts"


@of_ranks
def test_nothing_is_compiled_at_start(both: Both) -> None:
    for key, without in (("built", ["deepspeed_shm_comm"]), ("compiler", True)):
        in_place, left_out = ([rank.notes[key] for rank in ranks] for ranks in both)
        assert not any(in_place)
        assert left_out == [without, without]


@of_ranks
def test_stages_are_those_asked_for(both: Both) -> None:
    in_place, left_out = ([rank.notes["parts"] for rank in ranks] for ranks in both)
    # Embeddings and one block; three blocks, norm and head.
    assert in_place == [[0, 3, 8]] * 2
    assert left_out != in_place


@of_ranks
def test_one_rank_reduces_no_gradients(both: Both) -> None:
    for precision in ("fp32", "bf16"):
        in_place, left_out = ([rank.notes[f"reductions in {precision}"] for rank in ranks] for ranks in both)
        assert in_place == [0, 0]
        assert min(left_out) > 0


@of_ranks
def test_a_bf16_pipeline_reports_a_gradient_that_is_not_finite(in_place: list[Seen]) -> None:
    """What the loop's guard relies on; DeepSpeed before 0.19.8 stopped there."""
    assert not any(math.isfinite(rank.notes["norm"]) for rank in in_place)


@of_ranks
def test_a_plain_engine_is_built_after_a_pipeline(both: Both) -> None:
    in_place, left_out = ([rank.notes["ranks"] for rank in ranks] for ranks in both)
    assert in_place == [2, 2]
    assert all("get_model_parallel_rank" in error for error in left_out)


WORKAROUNDS = [
    function
    for _, function in inspect.getmembers(deepspeed_workarounds, inspect.isfunction)
    if function.__module__ == deepspeed_workarounds.__name__
]


@pytest.mark.parametrize("function", WORKAROUNDS, ids=lambda function: function.__name__)
def test_a_workaround_names_its_issue_its_version_and_its_test(function: Any) -> None:
    text = inspect.getdoc(function) or ""
    assert re.search(r"^Issue: (none found|\d+)", text, re.MULTILINE)
    assert re.search(r"Seen in \d+\.\d+\.\d+\.", text)
    (test,) = re.findall(r"Test:\s+(test_\w+)", text)
    assert any(f"def {test}(" in path.read_text() for path in TESTS.rglob("test_*.py"))


def watch(directory: Path, *left_out: str) -> list[Seen]:
    """Run two ranks from nothing, so that what DeepSpeed does at import is seen too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    common["PYTHONPATH"] = os.pathsep.join((str(TESTS), str(TESTS.parent)))
    command = [sys.executable, "-m", "support.workers.workarounds", str(directory), *left_out]
    inherited = {
        name: value for name, value in os.environ.items() if name != "DS_ACCELERATOR"
    }  # as at a start
    ranks = [
        subprocess.Popen(
            command,
            env={**inherited, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [rank.communicate(timeout=patient()) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told[0][1] + told[1][1]
    notes = [json.loads((directory / f"seen-{rank}.json").read_text()) for rank in range(2)]
    return [Seen(note, *streams) for note, streams in zip(notes, told, strict=True)]
