"""What a run tells of itself: measured, complete, and drawn without an account."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.checkpoint import attempts
from pipeline.cli.main import app
from pipeline.config import load_config
from pipeline.costs.layers import mfu_flops_per_token, training_flops_per_token
from pipeline.distributed.timers import StepTimer
from pipeline.errors import RunError
from pipeline.monitor import wandb_server
from pipeline.monitor.metrics_logger import MetricsLogger, keep_funnel, wandb_id
from support import wandb_files
from support.patience import wait_until


@pytest.mark.slow(6)
def test_every_step_says_who_waited_for_whom_and_for_what(finished_run: Any) -> None:
    steps = [row for row in finished_run.metrics() if "batch" in row]
    assert steps
    model = load_config(finished_run.written(), [])[0].model
    counted = mfu_flops_per_token(model) / training_flops_per_token(model)
    for row in steps:
        assert {"loss", "lr", "grad_norm", "skipped", "spikes", "stream_hash"} < row.keys()
        assert 0 <= row["data_wait"] < 1
        assert 0 < row["mfu"] < 1, "a share of the speed of this machine's own products"
        assert row["mfu"] / row["mfu_causal"] == pytest.approx(counted, rel=1e-9)
        assert row["straggler/0"] + row["straggler/1"] == pytest.approx(2), "their mean is 1"
        for stage in (0, 1):
            assert 0 < row[f"bubble/{stage}"] < 1
            assert row[f"compute_s/{stage}"] > 0
            assert 0.05 < row[f"memory_gb/{stage}"] < 10


def test_a_slow_instruction_is_counted_as_computing_and_a_slow_message_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kind(name: str) -> Any:
        return type(name, (), {})

    now_ms = 0
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ms * 1_000_000)

    def takes(milliseconds: int) -> Callable[[], None]:
        def run() -> None:
            nonlocal now_ms
            now_ms += milliseconds

        return run

    slow = {"ForwardPass": 20, "RecvActivation": 50, "BackwardPass": 30, "ReduceTiedGrads": 200}
    engine = SimpleNamespace(_INSTRUCTION_MAP={kind(name): takes(ms) for name, ms in slow.items()})
    timer = StepTimer("cpu")
    timer.watch(engine)
    timer.start()
    for run in engine._INSTRUCTION_MAP.values():
        run()
    computed_ns, drained_ns = timer.read_ns()
    assert computed_ns == 50_000_000
    assert drained_ns == 100_000_000, "until the last micro-batch is through, not the optimizer's step"


@pytest.mark.slow(2)
def test_a_run_is_drawn_as_a_picture_and_a_page_that_loads_nothing(finished_run: Any, tmp_path: Path) -> None:
    run = finished_run.copy("drawn")
    with (run.attempt / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "tok')  # it is still being written
    funnel = [{"stage": "links", "unit": "submissions", "entered": 9, "passed": 7, "reasons": {"dead": 2}}]
    (run.attempt / "funnel.json").write_text(json.dumps({"books": funnel}))
    (run.attempt / "samples.jsonl").write_text(
        json.dumps({"step": 4, "prompt": "Old", "text": "er"})
        + "\n"
        + json.dumps({"step": 8, "prompt": "The <b>", "text": " end"})
        + "\n"
    )
    result = CliRunner().invoke(app, ["monitor", str(run.dir), "-o", str(tmp_path / "out"), "--follow"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "monitor.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "monitor.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|<script|url\((?!#)""", page)
    for title in (
        "Loss",
        "Learning rate",
        "MFU",
        "Data wait",
        "Pipeline bubble",
        "Stragglers",
        "Peak memory",
    ):
        assert f">{title}</h2>" in page
    assert "7 of 9 submissions" in page
    assert "The &lt;b&gt;</b> end" in page
    assert "Older" not in page
    assert "Guards" not in page, "nothing was skipped"


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="expected the directory of a training run"):
        CliRunner().invoke(app, ["monitor", str(tmp_path)], catch_exceptions=False)


@pytest.mark.slow(2)
def test_a_run_before_its_first_step_is_drawn_empty(tmp_path: Path) -> None:
    attempts.claim(tmp_path, processes=1)
    result = CliRunner().invoke(app, ["monitor", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "monitor" / "monitor.html").exists()


def test_the_funnel_of_the_tokens_comes_along_and_its_absence_is_no_error(tmp_path: Path) -> None:
    def source(name: str) -> Any:
        return SimpleNamespace(generation=SimpleNamespace(directory=tmp_path / name, number=2))

    for name in ("run", "web", "books"):
        (tmp_path / name).mkdir()
    (tmp_path / "web" / "funnel-2.json").write_text('[{"stage": "links"}]')
    keep_funnel(tmp_path / "run", SimpleNamespace(by_name={"web": source("web"), "books": source("books")}))  # type: ignore[arg-type]
    assert json.loads((tmp_path / "run" / "funnel.json").read_text()) == {"web": [{"stage": "links"}]}


@pytest.mark.slow(4)
def test_weights_and_biases_holds_samples_funnel_and_evaluations_over_tokens(speaking: Any) -> None:
    """Read back from its offline file."""
    (path,) = (speaking.attempt / "wandb").glob("offline-run-*/*.wandb")
    rows = wandb_files.history(path)
    (evaluated,) = [row for row in rows if "val_loss" in row]
    assert evaluated["tokens"] == 640
    wanted = {"loss", "lr", "grad_norm", "batch", "tokens_per_s", "mfu", "data_wait", "bubble", "memory_gb/1"}
    wanted.add("mfu_causal")
    trained = [row for row in rows if "loss" in row]
    assert [row["_step"] for row in trained] == list(speaking.losses())
    assert all(wanted | {"stream_hash", "tokens"} <= row.keys() for row in trained)
    assert wandb_files.axes(path)["*"] == "tokens"

    told = wandb_files.summary(path)
    assert told["funnel/links/entered"] == 9
    assert (told["funnel/links/passed"], told["funnel/links/merged"]) == (7, 2)

    samples = [json.loads(line) for line in (speaking.attempt / "samples.jsonl").read_text().splitlines()]
    (table,) = path.parent.rglob("*.table.json")
    assert json.loads(table.read_text())["data"] == [[s["step"], s["prompt"], s["text"]] for s in samples]
    assert [sample["prompt"] for sample in samples] == ["the", "a"]


def watched(run: Any, *overrides: str) -> MetricsLogger:
    """What an attempt begins with."""
    attempt = attempts.claim(run.dir, processes=2)
    attempt.begin(attempts.Origin(attempt=0, step=0))
    config = load_config(run.written(), list(overrides))[0]
    return MetricsLogger(
        attempt,
        wandb_id(run.dir),
        wandb=config.wandb,
        config=config.model_dump(mode="json"),
        tokens=config.train.tokens,
        prompts=config.train.prompts,
    )


def row(step: int) -> dict[str, float]:
    return {"step": step, "tokens": 64 * step, "loss": 3.0, "tokens_per_s": 1.0, "mfu": 0.5, "data_wait": 0.0}


@pytest.mark.slow(2)
def test_what_comes_after_a_spike_or_a_loss_of_its_folder_reaches_weights_and_biases(
    tiny_run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = tiny_run()
    logger = watched(run, "wandb.mode=offline", "train.prompts=[the]")
    for step in (1, 2, 3, 4):
        logger.step(row(step))
    logger.roll_back(5, 2)
    (run.attempt / "samples.jsonl").write_text(json.dumps({"step": 2, "prompt": "the", "text": "re"}) + "\n")
    logger.step(row(3))  # W&B's own count stands at 4 and does not go back
    logger.close(0)
    wandb.teardown()  # its own process closes the file as it ends
    (path,) = (run.attempt / "wandb").glob("offline-run-*/*.wandb")
    told = {row["_step"]: row for row in wandb_files.history(path)}
    assert list(told) == [1, 2, 3, 4]
    assert [step for step, row in told.items() if "samples/nrows" in row] == [4]
    assert "WANDB_MODE=disabled is not heeded: wandb.mode says offline" in caplog.text

    shutil.rmtree(run.attempt / "wandb")
    logger = watched(run, "wandb.mode=offline")
    logger.step(row(3))
    logger.close(3)
    wandb.teardown()
    (again,) = (run.attempt / "wandb").glob("offline-run-*/*.wandb")
    assert again.name == path.name, "one run"
    assert [row["_step"] for row in wandb_files.history(again)] == [3]


def test_metrics_are_on_the_disk_before_a_checkpoint_counts(
    tiny_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that loses its power must not leave a checkpoint whose steps have no metrics."""
    synced: list[Any] = []
    logger = watched(run := tiny_run())
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink()))
    logger.step(row(1))
    logger.sync()
    assert synced == [run.attempt / "metrics.jsonl"]
    logger.close(1)


def test_a_refusal_of_weights_and_biases_is_told_with_its_remedy(
    tiny_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RESUME", "perhaps")
    with pytest.raises(RunError, match=r"Weights & Biases does not start: .*'perhaps'.*wandb.mode=disabled"):
        watched(tiny_run(), "wandb.mode=offline")


def test_a_server_that_accepts_connections_and_never_answers_does_not_delay_the_start(
    tiny_run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wandb_server, "ONCE_TIMEOUT_S", 0.1)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    run = tiny_run()
    first = attempts.claim(run.dir, processes=1)
    (first.folder / "config.yaml").write_text("wandb: {project: links}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        watched(run, "wandb.mode=online").close(0)
        silent.setblocking(False)
        silent.accept()
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert "cannot be reached" in caplog.text
    assert "the steps are sent as soon as it answers" in caplog.text


@pytest.mark.slow(2)
@pytest.mark.parametrize("when", ["in mid-run", "at its end"])
def test_a_training_goes_on_when_the_process_of_weights_and_biases_dies(
    tiny_run: Any, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    caplog.set_level("INFO", "outbound")
    run = tiny_run()
    logger = watched(run, "wandb.mode=offline", "train.prompts=[the]")
    logger.step(row(3))
    children = [
        each for path in Path("/proc/self/task").glob("*/children") for each in path.read_text().split()
    ]
    cores = [int(each) for each in children if "wandb" in Path(f"/proc/{each}/comm").read_text()]
    os.kill(max(cores), signal.SIGKILL)  # another test's may be there, too
    wait_until(lambda: ended(max(cores)), "the end of the process of W&B")
    steps = [3]

    def noticed() -> bool:
        steps.append(steps[-1] + 1)
        logger.step(row(steps[-1]))
        return "Weights & Biases is gone" in caplog.text

    if when == "in mid-run":
        wait_until(noticed, "a message to W&B that could not be sent")
        assert noticed(), "the training goes on"
    (run.attempt / "samples.jsonl").write_text(json.dumps({"step": 3, "prompt": "the", "text": "re"}) + "\n")
    logger.close(3)
    assert [row["step"] for row in run.metrics()] == steps
    assert caplog.text.count("Weights & Biases is gone") == 1


def ended(process: int) -> bool:
    """Whether it is gone, or waits for its parent to look (Z)."""
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
