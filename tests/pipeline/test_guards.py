"""What happens to a run that goes wrong: gradients that are no numbers, losses that spike, hung ranks."""

from __future__ import annotations

import doctest
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import ledger, spikes
from pipeline.batches import TrainFeed
from pipeline.checkpoint import find
from pipeline.config import load_config
from pipeline.ledger import Ledger
from pipeline.sources import Samples

MakeRun = Callable[..., Any]
WORKER = Path(__file__).parents[1] / "faulty_worker.py"
STEADY = ("batch.ramp_start=4", "batch.sequences=4", "batch.ramp_tokens=0", "optimizer.lr=0.005")


def train_with_faults(run: Any, *overrides: str, faults: list[dict[str, Any]]) -> tuple[int, str, str]:
    """Train with one process a fault, as torchrun would start them.

    Returns the worst exit code, and what rank 0 reported and told people.
    """
    path = run.home / f"{run.name}.yaml"
    path.write_text(yaml.safe_dump(run.settings))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = []
    for rank, fault in enumerate(faults):
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": len(faults), "OMP_NUM_THREADS": 1}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "FAULT": json.dumps(fault)}
        with (run.home / f"out-{rank}").open("w") as out, (run.home / f"err-{rank}").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), str(path), *overrides],
                env=os.environ | {name: str(value) for name, value in environment.items()},
                stdin=subprocess.PIPE,  # a worker ends when it closes
                stdout=out,
                stderr=err,
            )
        ranks.append(process)
    try:
        codes = [rank.wait(timeout=120) for rank in ranks]
    finally:
        for each in ranks:
            each.kill()
    return max(codes), (run.home / "out-0").read_text(), (run.home / "err-0").read_text()


@pytest.mark.parametrize(("stages", "zero"), [(2, 1), (1, 0), (1, 1), (1, 3)])
def test_a_step_whose_gradient_is_not_finite_on_one_rank_is_skipped_by_all(
    tiny_run: MakeRun, stages: int, zero: int
) -> None:
    run = tiny_run(f"skips-{stages}-{zero}")
    spread = (f"parallel.pipeline={stages}", f"parallel.zero={zero}")
    code, _, err = train_with_faults(run, *spread, *STEADY, faults=[{}, {"nan_steps": [5, 6, 9]}])
    assert code == 0, err
    skipped = [row["step"] for row in run.metrics() if "val_loss" not in row and "loss" not in row]
    assert skipped == [5, 6, 9]
    checkpoint = find(run.dir)
    assert checkpoint is not None
    assert (checkpoint.state.step, checkpoint.state.skipped) == (25, 3)
    if zero:
        assert checkpoint.state.updates == 22
    assert run.losses()[25] < run.losses()[4] - 0.1, "it went on to learn"


def test_several_such_steps_in_a_row_end_the_run_and_its_checkpoint_stands(tiny_run: MakeRun) -> None:
    run = tiny_run("diverges")
    code, said, _ = train_with_faults(run, *STEADY, faults=[{}, {"nan_steps": [6, 7, 8]}])
    assert code == 1
    assert "at step 8, 3 steps in a row (guards.non_finite)" in json.loads(said)["message"]
    assert "goes on from step-00000004" in json.loads(said)["message"]


def test_a_spike_is_undone_and_its_samples_are_never_read_again(tiny_run: MakeRun) -> None:
    guarded = (*STEADY, "guards.spike_z=4", "guards.spike_window=8", "train.tokens=3200")
    noise = [80, 88]  # steps 21 and 22
    run = tiny_run("spikes")
    code, _, err = train_with_faults(run, *guarded, faults=[{"noise": noise}, {"noise": noise}])
    assert code == 0, err
    assert "at step 21 is a spike" in err
    assert "back to step 20" in err
    checkpoint = find(run.dir)
    assert checkpoint is not None
    assert checkpoint.state.spikes == 2, "the second half of the noise is another"
    assert checkpoint.state.ledger == [noise]
    assert [row["step"] for row in run.metrics() if "loss" in row] == list(range(1, 51))

    config, sources = load_config(run.dir / "config.yaml", [])
    read = TrainFeed(Samples.of(sources, 16, config.run.seed, block=4), 4, 0, 1, Ledger(((80, 88),)))
    for first in range(0, config.samples, 4):
        list(read.batches(first, 4))
    read.close()
    assert checkpoint.state.stream_hash == read.take_hash(), "of all that stands in the weights, no noise"


def test_one_spike_too_many_ends_the_run(tiny_run: MakeRun) -> None:
    run = tiny_run("noisy")
    guarded = (*STEADY, "guards.spike_z=4", "guards.spike_window=8", "train.tokens=3200", "guards.spikes=1")
    code, said, _ = train_with_faults(run, *guarded, faults=[{"noise": [80, 120]}] * 2)
    assert code == 1
    assert "is a spike (guards.spike_z), and 1 were skipped before it" in json.loads(said)["message"]


def test_a_stalled_rank_ends_the_run_and_leaves_the_stacks_of_all_threads(tiny_run: MakeRun) -> None:
    run = tiny_run("stalls")
    process = run.start("train.tokens=1600000", "guards.stall_s=10")
    run.wait_for_step(3, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    stalled = int(children[1])
    os.kill(stalled, signal.SIGSTOP)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.kill(stalled, signal.SIGKILL)
    assert process.returncode == 1
    assert "no step in 10 s (guards.stall_s)" in err
    stacks = (run.dir / "stacks-rank-00000.txt").read_text()
    assert "_advance" in stacks
    assert "train_batch" in stacks


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=6), st.integers(0, 80))
def test_the_ledger_skips_what_it_was_told_and_nothing_else(skips: list[tuple[int, int]], until: int) -> None:
    skipped: set[int] = set()
    book = Ledger()
    for first, length in skips:
        places = [book.place(sample) for sample in range(first, first + length)]
        skipped |= set(range(places[0], places[-1] + 1))
        book = book.skipping(first, first + length)
    wanted = [place for place in range(until + 70) if place not in skipped][:until]
    assert [book.place(sample) for sample in range(len(wanted))] == wanted
    assert all(one[1] < other[0] for one, other in zip(book.ranges, book.ranges[1:], strict=False))


@pytest.mark.parametrize("module", [ledger, spikes], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_are_true(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(("stages", "zero", "processes"), [(2, 1, 2), (1, 0, 1), (1, 3, 2)])
def test_a_rehearsal_leaves_no_trace(tiny_run: MakeRun, stages: int, zero: int, processes: int) -> None:
    spread = (f"parallel.pipeline={stages}", f"parallel.zero={zero}", "train.tokens=640")
    runs = []
    for rehearse in ("true", "false"):
        run = tiny_run(f"rehearse-{rehearse}", dropout=0.1)
        run.train(*spread, f"guards.rehearse={rehearse}", nproc=processes)
        runs.append(run.timeless())
    assert runs[0] == runs[1]
