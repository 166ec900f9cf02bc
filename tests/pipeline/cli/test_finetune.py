"""`outbound finetune`, and what `outbound eval` and `outbound export` do with its models."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pipeline.checkpoint import attempts
from pipeline.checkpoint.format import find
from pipeline.distributed.stop import SIGNALS
from pipeline.finetune.results import read_results
from pipeline.monitor.run_files import joined_metrics
from slurm.codes import RESUME_EXIT
from support import cli
from support.finetuning import Tuning, write_pretrained, write_set
from support.patience import wait_until


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put back the handlers of signals, which a command in this process replaces."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def tuning(tmp_path: Path) -> Tuning:
    pretrained = write_pretrained(tmp_path / "gpt1")
    return Tuning.make(tmp_path, pretrained, test=str(write_set(tmp_path / "test.jsonl", 7, seed=2)))


@pytest.mark.slow(6)
def test_a_model_is_tuned_evaluated_and_exported(tuning: Tuning) -> None:
    made = cli.result("finetune", tuning.written(), "finetune.seeds=[3,4]", "finetune.epochs=1")
    assert (made["stopped"], made["seeds_done"]) == (False, 2)
    assert Path(made["report"]).exists()
    again = cli.result("finetune", tuning.written(), "finetune.seeds=[3,4]", "finetune.epochs=1")
    assert again["scores"] == made["scores"], "nothing was left to do"
    (tuning.home / "train.jsonl").unlink()  # a model can be evaluated without it
    refused = cli.run("eval", made["dir"], "--tasks", "sst2")
    assert (refused.returncode, "--tasks" in refused.stderr) == (2, True)
    found = cli.result("eval", made["dir"])
    assert [each["examples"] for each in found["seeds"]] == [7, 7]
    assert [score.part for score in read_results(Path(made["dir"])).scores] == ["dev", "test"]
    exported = cli.result("export", f"{made['dir']}/seed-3", "-o", tuning.home / "exported")
    assert exported["class"] == "OpenAIGPTForSequenceClassification"
    card = ModelCard.load(tuning.home / "exported" / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert "| seed | 3 |" in card.text
    assert str(tuning.home) not in card.text


def test_a_mistake_is_one_line(tuning: Tuning) -> None:
    ended = cli.run("finetune", tuning.written(), "finetune.epoch=1")
    assert ended.returncode == 2
    assert "finetune.epoch: unknown key; write epochs" in ended.stderr.replace("\n", " ")


def test_a_directory_with_other_files_is_left_alone(tuning: Tuning) -> None:
    (tuning.home / "thesis").mkdir()
    (tuning.home / "thesis" / "chapter-1.tex").touch()
    ended = cli.run("finetune", tuning.written(), f"finetune.dir={tuning.home}/thesis")
    assert ended.returncode == 2
    assert "holds other files (chapter-1.tex)" in ended.stderr.replace("\n", " ")


@pytest.mark.slow(8)
def test_a_task_of_slurm_that_is_stopped_ends_with_the_code_that_queues_it_again(
    tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"PROCID": "0", "STEP_ID": "0", "NTASKS": "1", "LOCALID": "0"}
    for name, value in task.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")  # where one process meets nobody
    code = "from pipeline.cli.main import main; main()"
    child = cli.start("finetune", tuning.written(), "finetune.epochs=100000", python=("-c", code))
    try:
        wait_until(
            lambda: attempts.numbers(tuning.seed_0) and joined_metrics(tuning.seed_0), "the first update"
        )
        child.send_signal(signal.SIGTERM)
        cli.wait_for(child, RESUME_EXIT)
    finally:
        child.kill()
    checkpoint = find(tuning.seed_0)
    assert checkpoint is not None
    last = attempts.read(tuning.seed_0, 1).ended
    assert last is not None
    assert (last.code, last.step) == (RESUME_EXIT, checkpoint.state.step)
