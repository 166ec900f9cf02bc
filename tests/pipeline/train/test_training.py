"""Whole runs over real processes: equal to plain torch, to themselves after a stop, and across layouts."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from model import GPT
from model.init import initialise
from model.loss import IGNORED
from model.names import padded
from pipeline.checkpoint.format import Checkpoint, find, newest
from pipeline.checkpoint.weights import open_weights
from pipeline.config import RunConfig, load_config
from pipeline.data.loader import EvalLoader, TrainLoader
from pipeline.data.sources import HeldOut, Samples, Sources
from pipeline.train.resume import seed_generators
from pipeline.train.schedule import batch_size, learning_rate
from support import wandb_files
from support.patience import patient

pytestmark = pytest.mark.slow(120)

MakeRun = Callable[..., Any]


def test_two_stages_equal_plain_torch_with_clipping_and_a_batch_ramp(finished_run: Any) -> None:
    config, sources = load_config(finished_run.attempt / "config.yaml", [])
    expected = plain_torch(config, sources)
    steps = [row for row in finished_run.metrics() if "loss" in row]
    assert [row["batch"] for row in steps] == [batch for batch, _, _ in expected]
    assert len({row["batch"] for row in steps}) == 3, "the ramp has several sizes"
    assert min(norm for _, _, norm in expected) > config.optimizer.max_grad_norm, "every step clips"
    for row, (_, loss, norm) in zip(steps, expected, strict=True):
        assert row["loss"] == pytest.approx(loss, abs=1e-5)
        assert row["grad_norm"] == pytest.approx(norm, rel=1e-4)


def test_training_learns_more_than_how_frequent_tokens_are(finished_run: Any) -> None:
    summary = finished_run.summary()
    assert summary["val_loss"] < summary["unigram_entropy_nats"]
    assert not summary["stopped"]
    assert summary["resumes"] == []


def test_the_dense_gpt_has_the_held_out_loss_of_the_run(finished_run: Any) -> None:
    checkpoint = find(finished_run.dir)
    assert checkpoint is not None
    model = open_weights(finished_run.dir).model()
    _, sources = load_config(finished_run.attempt / "config.yaml", [])
    with torch.no_grad():
        loader = EvalLoader(
            held_out=HeldOut.of(sources, n_ctx=16, sequences=8), micro=4, dp_rank=0, dp_size=1
        )
        parts = [(model(x, y) * y.numel(), (y != IGNORED).sum()) for x, y in loader.batches()]
    losses, counted = (torch.stack(part).sum() for part in zip(*parts, strict=True))
    assert float(losses / counted) == pytest.approx(checkpoint.state.val_loss, abs=1e-5)


def test_a_run_is_not_continued_as_another(finished_run: Any) -> None:
    changed = finished_run.copy("changed")
    process = changed.start("model.n_layer=3", "run.seed=4")
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 2
    said = " ".join(err.split())
    for key, given, was in (("run.seed", 4, 3), ("model.n_layer", 3, 2)):
        assert f"{key} (given as {key}={given} on the command line): was {was}, is {given}" in said
    assert "a run does not change it once it has begun" in said
    assert "n_head" not in said, "what is equal is not told"


@pytest.mark.parametrize(("processes", "zero"), [(1, 0), (2, 3)])
def test_a_checkpoint_of_two_stages_continues_in_another_layout(
    finished_run: Any, processes: int, zero: int
) -> None:
    moved = finished_run.copy(f"moved-to-{processes}-zero-{zero}")
    shutil.rmtree(moved.attempt / "checkpoints" / "step-00000012")
    layout = ("parallel.pipeline_stages=1", f"parallel.zero_stage={zero}", f"train.deterministic={zero == 3}")
    summary = moved.train(*layout, nproc=processes)
    assert summary["resumes"] == [8]
    assert moved.losses() == pytest.approx(finished_run.losses(), abs=1e-5)
    assert [row.get("stream_hash") for row in moved.metrics()] == [
        row.get("stream_hash") for row in finished_run.metrics()
    ]


def test_stages_of_compiled_blocks_with_checkpointed_activations_train_the_same(
    tiny_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FlexAttention, which trains on no CPU, is dropped beside them and people are told."""
    run = tiny_run("compiled", attention=["dense", "banded:4"])
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    settings = ("train.compile=true", "train.flex_attention=true", "parallel.activation_checkpointing=true")
    ranks = run.fork(*settings, worker="support.workers.compiling")
    assert ranks.wait() == [0, 0], ranks.told()
    assert (tmp_path / "notes").read_text().split() == ["2", "2"], "one graph to train, one to evaluate"
    said = "rank 0 WARNING train.flex_attention: not used, banded layers run block by block, on 1 of 2 ranks"
    (warning,) = [line for line in run.logs().splitlines() if "WARNING" in line]
    assert said in warning, "of the second rank's layers, by the first, which speaks to people"
    expected = plain_torch(*load_config(run.attempt / "config.yaml", []))
    assert list(run.losses().values()) == pytest.approx([loss for _, loss, _ in expected], abs=1e-5)


def test_without_a_compiler_the_run_goes_on_as_if_it_had_not_been_asked_to_compile(
    finished_run: Any, tiny_runs: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_runs(finished_run.home, "without-compiler")
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # nothing from an earlier test
    process = run.start("train.compile=true")  # torch reads CXX as it is imported
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 0, err
    (warning,) = [line for line in run.logs().splitlines() if "WARNING" in line]
    assert "train.compile: not used, blocks run as they are written, on 2 of 2 ranks" in warning
    assert "InvalidCxxCompiler: No working C++ compiler" in warning
    assert run.losses() == finished_run.losses()


def test_a_stopped_run_resumes_to_the_last_digit_in_one_wandb_run(tiny_run: MakeRun) -> None:
    longer = ("train.tokens=6400", "wandb.mode=offline")
    unbroken = tiny_run("unbroken", dropout=0.1)
    unbroken.train("train.tokens=6400", "train.deterministic=true")  # on a CPU the same numbers

    stopped = tiny_run("stopped", dropout=0.1)
    process = stopped.start(*longer)
    stopped.wait_for_step(3, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=patient())
    assert process.returncode == 0, err
    first = json.loads(out)
    assert first["stopped"]
    summary = stopped.train(*longer)
    assert summary["resumes"] == [first["steps"]]
    assert not summary["stopped"]

    assert stopped.timeless() == unbroken.timeless()
    run_id = (stopped.dir / "wandb_id").read_text().strip()
    segments = sorted(stopped.dir.glob(f"attempts/*/wandb/offline-run-*/run-{run_id}.wandb"))
    assert len(segments) == 2
    logged = [wandb_files.history(segment) for segment in segments]
    by_step = {row["_step"]: row for attempt in logged for row in attempt}
    for row in stopped.metrics():
        assert row.items() <= by_step[row["step"]].items(), "all numbers of every step, in one count of steps"
    assert [row["_step"] for attempt in logged for row in attempt] == list(stopped.losses()), "each once"


def test_a_killed_rank_ends_the_run_and_a_damaged_checkpoint_is_passed_over(finished_run: Any) -> None:
    run = finished_run.copy("killed")
    share = run.attempt / "checkpoints" / "step-00000012" / "rank-00001.safetensors"
    data = bytearray(share.read_bytes())
    data[-100] ^= 1
    share.write_bytes(data)

    endless = ("train.tokens=160000", "optimizer.lr=0.02", "train.checkpoint_every_steps=1000")
    process = run.start(*endless)
    run.wait_for_step(len(finished_run.metrics()) + 4, process)
    os.kill(worker_of(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 1
    assert "was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert worker_of(process.pid) is None, "nobody is left behind"
    assert "resumed after step 8" in err
    for told in (err, run.logs()):
        assert "rank-00001.safetensors was altered" in told
        assert "optimizer.lr: was 0.01, is 0.02" in told
        assert "train.tokens: was 1600, is 160000" in told
    assert err.count("was altered") == 1, "only one process tells people"
    assert share.read_bytes() == data, "an attempt leaves what others have saved as it is"
    steps = [row["step"] for row in run.metrics() if "loss" in row]
    assert steps == list(range(1, len(steps) + 1)), "no step stands twice"


def test_a_shard_that_is_cut_while_a_run_trains_is_named(tiny_run: MakeRun) -> None:
    run = tiny_run()
    process = run.start("train.tokens=160000")
    run.wait_for_step(2, process)
    shard = run.home / "tokens" / "train-0001-00000.tar"
    os.truncate(shard, 0)
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 1
    assert f"{shard}: 0 bytes, expected " in err
    assert "restore the shard" in err


def test_ranks_killed_at_any_moment_mostly_while_saving_lose_nothing(tiny_run: MakeRun) -> None:
    settings = ("train.tokens=9600", "train.checkpoint_every_steps=1", "train.eval_every_steps=50")
    unbroken = tiny_run("unbroken", dropout=0.1)
    unbroken.train(*settings)
    killed = tiny_run("killed", dropout=0.1)
    moments = random.Random(5)
    last = max(unbroken.losses())
    for kill in range(4):
        ranks = killed.fork(*settings)
        killed.wait_for_step((kill + 1) * last // 6, ranks)
        time.sleep(moments.uniform(0, 0.1))
        ranks.processes[kill % 2].kill()
        assert sorted(ranks.wait()) == [-signal.SIGKILL, 1], ranks.told()
    assert killed.train(*settings)["resumes"], "at least once from a checkpoint"
    assert killed.losses() == unbroken.losses()


@pytest.mark.parametrize(
    "layout",
    [
        ["parallel.pipeline_stages=1", "parallel.zero_stage=3"],
        ["parallel.pipeline_schedule=dualpipev", "model.n_layer=4"],
    ],
    ids=["zero 3", "dualpipev"],
)
def test_a_layout_that_is_killed_retakes_its_steps_with_dropout_to_the_last_digit(
    tiny_run: MakeRun, layout: list[str]
) -> None:
    run = tiny_run(dropout=0.1)
    settings = (*layout, "train.tokens=6400")
    ranks = run.fork(*settings)
    run.wait_for_step(8, ranks)
    ranks.processes[1].kill()
    assert ranks.wait() == [1, -signal.SIGKILL], ranks.told()
    taken = run.losses()
    assert max(taken) > 4
    for path in run.attempt.glob("checkpoints/*"):  # as if it had been killed before the second
        if path.name != "step-00000004":
            shutil.rmtree(path)
    assert run.train(*settings)["resumes"] == [4]
    again = run.losses()
    assert {step: again[step] for step in taken} == taken


def test_a_run_with_dropout_moved_to_another_layout_draws_masks_of_its_own(tiny_run: MakeRun) -> None:
    """Those of (seed, step, rank): the first step after the move has the loss of plain torch with them."""
    run = tiny_run(dropout=0.1)
    run.train("train.tokens=640")
    assert run.train("train.tokens=832", "parallel.pipeline_stages=1", nproc=1)["resumes"] == [7]
    config, sources = load_config(run.attempt / "config.yaml", [])
    before = next(path for path in newest(run.dir) if path.name == "step-00000007")
    then = Checkpoint.open(before)
    model = GPT(config.model).train()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(padded(name, then.tensor(f"weight/{name}"), config.model))
    seed_generators(config.run.seed, step=7, rank=0)
    rows = Samples.of(sources, 16, config.run.seed, config.data.order_block_sequences).rows
    loader = TrainLoader(rows, eot=sources.eot, micro=1, dp_rank=0, dp_size=1)
    (row,) = [row for row in run.metrics() if row["step"] == 8 and "loss" in row]
    with torch.no_grad():
        expected = [float(model(*batch)) for batch in loader.batches(then.state.samples, row["batch"])]
    loader.close()
    assert row["loss"] == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_every_seed_step_and_rank_draws_masks_of_its_own() -> None:
    drawn = set()
    for seed, step, rank in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0), (0, 0, 0)]:
        seed_generators(seed, step, rank)
        drawn.add(tuple(torch.rand(4).tolist()))
    assert len(drawn) == 6


def worker_of(launcher: int) -> Any:
    """A child process of the launcher, or None."""
    path = Path(f"/proc/{launcher}/task/{launcher}/children")
    children = path.read_text().split() if path.exists() else []
    return int(children[-1]) if children else None


def plain_torch(config: RunConfig, sources: Sources) -> list[tuple[int, float, float]]:
    """Train without DeepSpeed: (batch, loss, gradient norm before clipping) of each step."""
    model = GPT(config.model)
    initialise(model.named_parameters(), config.model, config.run.seed)
    matrices = [value for value in model.parameters() if value.dim() >= 2]
    others = [value for value in model.parameters() if value.dim() < 2]
    wanted = config.optimizer
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": wanted.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=wanted.lr,
        betas=wanted.betas,
        eps=wanted.eps,
    )
    n_ctx = config.model.n_ctx
    samples = Samples.of(sources, n_ctx, config.run.seed, config.data.order_block_sequences)
    consumed, done = 0, []
    while consumed < config.samples:
        batch = batch_size(consumed, full=12, multiple=4, ramp_start=4, ramp_samples=400 // n_ctx)
        batch = min(batch, config.samples - consumed)
        # One pass over the whole batch: no micro-batches, no accumulation.
        loader = TrainLoader(samples.rows, eot=sources.eot, micro=batch, dp_rank=0, dp_size=1)
        ((inputs, targets),) = loader.batches(consumed, batch)
        loader.close()
        consumed += batch
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
        optimizer.zero_grad()
        (loss / targets.numel()).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), wanted.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                consumed * n_ctx,
                peak=wanted.lr,
                warmup_tokens=config.schedule.warmup_tokens,
                decay_tokens=config.train.tokens,
                min_lr_ratio=config.schedule.min_lr_ratio,
            )
        optimizer.step()
        done.append((batch, loss.item() / int((targets != IGNORED).sum()), norm.item()))
    return done


@pytest.mark.parametrize(("stages", "zero"), [(2, 1), (1, 0)])
def test_weights_that_are_no_numbers_are_not_saved(tiny_run: MakeRun, stages: int, zero: int) -> None:
    run = tiny_run()
    spread = (f"parallel.pipeline_stages={stages}", f"parallel.zero_stage={zero}", "schedule.warmup_tokens=0")
    process = run.start(*spread, "optimizer.lr=1e38", "train.checkpoint_every_steps=1", nproc=stages)
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 1
    assert "begins anew, for there is no checkpoint yet" in err
    assert "ValueError" not in err
    assert find(run.dir) is None
