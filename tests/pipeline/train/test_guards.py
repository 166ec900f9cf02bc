"""What happens to a run that goes wrong: gradients that are no numbers, losses that spike, hung ranks."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoint.format import find
from pipeline.checkpoint.run_state import RunState
from pipeline.config import load_config
from pipeline.config.sections import Guards
from pipeline.data.loader import TrainLoader
from pipeline.data.skipped import SkippedRanges
from pipeline.data.sources import Samples
from pipeline.distributed.launch import launch
from pipeline.distributed.watchdog import STALLED, Watchdog
from pipeline.errors import RunError
from pipeline.train import guards
from pipeline.train.traced import traced_step
from support import wandb_files
from support.patience import patient
from support.ranks import Ranks

pytestmark = pytest.mark.slow(115)

MakeRun = Callable[..., Any]
STALL_S = patient(20)
STALL = f"guards.stall_timeout_s={STALL_S:g}"
STEADY = (
    "batch.ramp_start_batch_size=4",
    "batch.global_batch_size=4",
    "batch.ramp_tokens=0",
    "optimizer.lr=0.005",
)


def train_with_faults(run: Any, *overrides: str, faults: list[dict[str, Any]]) -> tuple[int, str, str]:
    """Train with one process a fault.

    Returns the worst exit code, and what rank 0 reported and told people.
    """
    told = [{"FAULT": json.dumps(fault)} for fault in faults]
    ranks = Ranks(run.home, [str(run.written()), *overrides], told, "support.workers.faulty")
    codes = ranks.wait()
    died = [rank for rank, fault in enumerate(faults) if fault.get("deed") == "die"]
    assert [codes[rank] for rank in died] == [-signal.SIGKILL] * len(died), "the fault has hit"
    return max(codes) or min(codes), ranks.reported(), ranks.told()


@pytest.mark.parametrize(("stages", "zero"), [(2, 1), (1, 0), (1, 1), (1, 3)])
def test_a_step_whose_gradient_is_not_finite_on_one_rank_is_skipped_by_all(
    tiny_run: MakeRun, stages: int, zero: int
) -> None:
    run = tiny_run(f"skips-{stages}-{zero}")
    spread = (f"parallel.pipeline_stages={stages}", f"parallel.zero_stage={zero}")
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


def test_a_resume_after_skipped_steps_goes_on_to_the_last_digit(tiny_run: MakeRun) -> None:
    """Adam corrects its averages by the updates that it has made, not by steps."""
    run = tiny_run("skips")
    code, _, err = train_with_faults(run, *STEADY, "train.tokens=768", faults=[{}, {"nan_steps": [5, 6]}])
    assert code == 0, err
    unbroken = run.losses()
    assert [*unbroken] == [1, 2, 3, 4, *range(7, 13)]
    shutil.rmtree(run.attempt / "checkpoints" / "step-00000012")
    assert run.train(*STEADY, "train.tokens=768")["resumes"] == [8]
    assert run.losses() == unbroken
    checkpoint = find(run.dir)
    assert checkpoint is not None
    assert (checkpoint.state.step, checkpoint.state.updates, checkpoint.state.skipped) == (12, 10, 2)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_deterministic_run_ends_at_an_operation_that_may_come_out_otherwise(
    tiny_run: MakeRun, deterministic: bool
) -> None:
    fault = {"at": "pipeline.train.loop.save", "call": 1, "deed": "race"}
    settings = ("parallel.pipeline_stages=1", f"train.deterministic={deterministic}", "train.tokens=640")
    code, said, err = train_with_faults(tiny_run(), *settings, faults=[fault])
    if deterministic:
        assert code == 1
        assert "put_ does not have a deterministic implementation" in json.loads(said)["message"]
    else:
        assert code == 0, err


def test_several_such_steps_in_a_row_end_the_run_and_its_checkpoint_stands(tiny_run: MakeRun) -> None:
    run = tiny_run("diverges")
    code, said, _ = train_with_faults(run, *STEADY, faults=[{}, {"nan_steps": [6, 7, 8]}])
    assert code == 1
    assert "at step 8, 3 steps in a row (guards.max_non_finite_steps)" in json.loads(said)["message"]
    assert "goes on from step-00000004" in json.loads(said)["message"]


def test_a_spike_is_undone_and_its_samples_are_never_read_again(tiny_run: MakeRun) -> None:
    guarded = (*STEADY, "guards.spike_zscore=4", "guards.spike_window_steps=8", "train.tokens=3200")
    noise = [88, 96]  # steps 23 and 24; the checkpoint before them is that of step 20
    run = tiny_run("spikes")
    faults = [{"noise": noise}, {"noise": noise}]
    code, _, err = train_with_faults(run, *guarded, "wandb.mode=offline", faults=faults)
    assert code == 0, err
    assert "at step 23 is a spike" in err
    assert "back to step 20" in err
    checkpoint = find(run.dir)
    assert checkpoint is not None
    assert checkpoint.state.spikes == 2, "the second half of the noise is another"
    assert checkpoint.state.skipped_ranges == [[80, 96]], "what was read since the checkpoint, and that half"
    assert [row["step"] for row in run.metrics() if "loss" in row] == list(range(1, 51))

    config, sources = load_config(run.attempt / "config.yaml", [])
    rows = Samples.of(sources, 16, config.run.seed, block=4).rows
    skipped = SkippedRanges(((80, 96),))
    read = TrainLoader(rows, eot=sources.eot, micro=4, dp_rank=0, dp_size=1, skipped_ranges=skipped)
    for first in range(0, config.samples, 4):
        list(read.batches(first, 4))
    read.close()
    assert checkpoint.state.stream_hash == read.take_hash(), "of all that stands in the weights, no noise"
    assert all(traced_step(run.dir, step).same for step in (1, 20, 21, 22, 24, 50)), "without the skipped"

    (path,) = (run.attempt / "wandb").glob(f"offline-run-*/run-{checkpoint.state.wandb_id}.wandb")
    told = {row["_step"]: row for row in wandb_files.history(path)}
    assert list(told) == list(range(1, 51)), "each step once, in order"
    assert [row["tokens"] for row in told.values()] == list(range(64, 3201, 64))
    others = {row["step"] for row in run.metrics() if not row.items() <= told[row["step"]].items()}
    assert others == {21}, "of the steps undone W&B keeps the first numbers, but of the last"


def test_a_spike_needs_a_whole_window() -> None:
    settings = Guards(spike_zscore=3, spike_window_steps=4)
    for recent, is_spike in (([], False), ([1.0, 2.0, 1.0], False), ([1.0, 2.0, 1.0, 2.0], True)):
        assert guards.is_spike(9.0, RunState(recent_losses=recent), settings) == is_spike


def test_what_an_attempt_brought_stands_after_it_rolled_back() -> None:
    """Else its checkpoints would describe the layout of the attempt before."""
    now = RunState(attempt=2, step=9, config={"a": 1}, resumes=[4], processes=8, stages=2, spikes=1)
    after = guards.roll_back(RunState(attempt=1, step=4, processes=4), now, SkippedRanges(((8, 18),)))
    expected = {"attempt": 2, "step": 4, "config": {"a": 1}, "resumes": [4], "processes": 8, "stages": 2}
    assert {name: getattr(after, name) for name in expected} == expected
    assert (after.spikes, after.skipped_ranges) == (2, [[8, 18]])


def test_one_spike_too_many_ends_the_run(tiny_run: MakeRun) -> None:
    run = tiny_run("noisy")
    guarded = (
        *STEADY,
        "guards.spike_zscore=4",
        "guards.spike_window_steps=8",
        "train.tokens=3200",
        "guards.max_spikes=1",
    )
    code, said, _ = train_with_faults(run, *guarded, faults=[{"noise": [80, 120]}] * 2)
    assert code == 1
    assert "is a spike (guards.spike_zscore), and 1 were skipped before it" in json.loads(said)["message"]


def test_a_stalled_rank_ends_the_run_and_leaves_the_stacks_of_all_threads(tiny_run: MakeRun) -> None:
    run = tiny_run("stalls")
    steps_only = ("train.eval_every_steps=1000000", "train.checkpoint_every_steps=1000000")
    process = run.start("train.tokens=1600000", STALL, *steps_only)
    run.wait_for_step(3, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    stalled = int(children[1])
    os.kill(stalled, signal.SIGSTOP)
    try:
        _, err = process.communicate(timeout=patient())
    finally:
        if process.poll() is None:
            os.kill(stalled, signal.SIGKILL)
    assert process.returncode == 1
    assert f"no step in {STALL_S:g} s (guards.stall_timeout_s)" in err
    assert "and stacks-rank-00000.txt where it waited if no step came (guards.stall_timeout_s)" in err
    stacks = (run.dir / "attempts" / "0001" / "stacks-rank-00000.txt").read_text()
    assert "_advance" in stacks
    assert "train_batch" in stacks or "gather_int64" in stacks, "where it waits for the other"


@pytest.mark.parametrize(
    ("at", "where"),
    [
        ("pipeline.distributed.engine.PipelineEngine.eval_loss", "in _evaluate"),
        ("pipeline.distributed.zero_state.read", "in _save"),
    ],
)
def test_a_rank_that_is_stopped_in_an_evaluation_or_a_save_is_found_too(
    tiny_run: MakeRun, monkeypatch: pytest.MonkeyPatch, at: str, where: str
) -> None:
    run = tiny_run()
    call = 2 if "eval" in at else 60  # the second evaluation; a tensor of the second save
    fault = {"rank": 1, "at": at, "call": call, "deed": "stop"}
    monkeypatch.setenv("FAULT", json.dumps(fault))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    with pytest.raises(RunError, match=r"stacks-rank-00000\.txt where it waited"):
        launch([str(run.written()), STALL], 2, "support.workers.faulty")
    assert f"no step in {STALL_S:g} s (guards.stall_timeout_s)" in run.logs()
    assert where in (run.dir / "attempts" / "0001" / "stacks-rank-00000.txt").read_text()
    checkpoint = find(run.dir)
    assert checkpoint is not None
    assert checkpoint.state.step == 4, "it was to be the second"


def test_a_rank_that_stalls_as_they_meet_is_found_too(tiny_run: MakeRun) -> None:
    run = tiny_run()
    fault = {"at": "pipeline.train.loop.init_distributed", "call": 1, "deed": "stall"}
    code, _, err = train_with_faults(run, f"guards.stall_timeout_s={patient(5):g}", faults=[{}, fault])
    assert code == STALLED, err
    assert f"no step in {patient(5):g} s (guards.stall_timeout_s)" in run.logs()
    stacks = [path.read_text() for path in run.dir.rglob("stacks-rank-*.txt")]  # the first to see it ends all
    assert any("in init_distributed" in each or "in fail" in each for each in stacks)
    assert find(run.dir) is None


@pytest.mark.parametrize("hang", [True, False])
def test_a_filesystem_that_hangs_or_fails_does_not_keep_a_stalled_process(tmp_path: Path, hang: bool) -> None:
    stacks = tmp_path / "stacks"
    if hang:
        os.mkfifo(stacks)  # to open it waits for a reader
    else:
        stacks.mkdir()
    left = Queue[int]()
    with Watchdog(0.1, stacks, left.put, dump_timeout_s=0.1):
        assert left.get(timeout=patient()) == STALLED


@pytest.mark.parametrize(
    ("at", "call", "deed"),
    [
        ("pipeline.distributed.zero_state.read", 50, "die"),
        ("pipeline.train.resume.gather_json", 4, "die"),  # two to begin, one a save
        ("pipeline.checkpoint.format.CheckpointWriter.publish", 2, "raise"),
    ],
)
def test_a_rank_that_ends_in_the_middle_of_a_save_costs_that_save_only(
    tiny_run: MakeRun, at: str, call: int, deed: str
) -> None:
    """Without a launcher to end them, the other ranks end as well."""
    run = tiny_run()
    fault = {"at": at, "call": call, "deed": deed}
    code, _, _ = train_with_faults(run, "guards.dry_run_batch=false", faults=[fault, {}])
    assert code
    checkpoint = find(run.dir)
    assert checkpoint is not None
    assert checkpoint.state.step in (4, 8)


def test_a_disk_that_is_full_is_told_and_the_save_leaves_nothing(tiny_run: MakeRun) -> None:
    run = tiny_run()
    code, said, _ = train_with_faults(run, faults=[{"file_bytes": 100_000}, {}])
    assert code == 1
    assert "rank-00000.safetensors: File too large; make room and run the same" in json.loads(said)["message"]
    assert find(run.dir) is None
    assert not list(run.dir.rglob("rank-00000*.safetensors")), "it has its room back"
    assert run.train()["steps"] == 12


def test_a_shard_that_goes_while_the_run_reads_is_named(tiny_run: MakeRun) -> None:
    config, sources = load_config(tiny_run().written(), [])
    samples = Samples.of(sources, 16, config.run.seed, block=4)
    (generation,) = sources.generations
    shard = generation.path(generation.splits["train"].shards[1])
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(RunError, match=rf"{shard.name}: \d+ bytes, expected \d+; the run's data changed"):
        list(map(samples, range(200)))


def test_skipped_steps_in_a_row_end_a_run_and_others_do_not() -> None:
    settings = Guards(max_non_finite_steps=2)
    state, over = RunState(), []
    for loss in (nan, 2.5, nan, inf):
        state = guards.record_step(state, loss, 1.0, settings)
        over.append(guards.diverged(state, settings))
    assert over == [False, False, False, True]
    assert (state.skipped, state.loss) == (3, 2.5)


def test_a_rolled_back_run_keeps_what_this_attempt_brought() -> None:
    checkpoint = RunState(step=20, samples=80, loss=2.5, processes=2, resumes=[4])
    state = RunState(step=23, samples=92, loss=2.4, processes=1, resumes=[4, 20], spikes=1)
    after = guards.roll_back(checkpoint, state, SkippedRanges(((80, 96),)))
    assert (after.step, after.samples, after.loss) == (20, 80, 2.5)
    assert (after.processes, after.resumes) == (1, [4, 20])
    assert (after.spikes, after.skipped_ranges) == (2, [[80, 96]])


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=6), st.integers(0, 80))
def test_the_ranges_given_are_skipped_and_nothing_else(skips: list[tuple[int, int]], until: int) -> None:
    skipped: set[int] = set()
    ranges = SkippedRanges()
    for first, length in skips:
        places = [ranges.position(sample) for sample in range(first, first + length)]
        skipped |= set(range(places[0], places[-1] + 1))
        ranges = ranges.skipping(first, first + length)
    wanted = [place for place in range(until + 70) if place not in skipped][:until]
    assert [ranges.position(sample) for sample in range(len(wanted))] == wanted
    assert all(one[1] < other[0] for one, other in zip(ranges.ranges, ranges.ranges[1:], strict=False))


@pytest.mark.parametrize(("stages", "zero", "processes"), [(2, 1, 2), (1, 0, 1), (1, 3, 2)])
def test_a_dry_run_leaves_no_trace(tiny_run: MakeRun, stages: int, zero: int, processes: int) -> None:
    spread = (f"parallel.pipeline_stages={stages}", f"parallel.zero_stage={zero}", "train.tokens=640")
    runs = []
    for dry_run in ("true", "false"):
        run = tiny_run(f"dry-run-{dry_run}", dropout=0.1)
        run.train(*spread, f"guards.dry_run_batch={dry_run}", nproc=processes)
        runs.append(run.timeless())
    assert runs[0] == runs[1]
