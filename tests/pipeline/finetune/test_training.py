"""A fine-tuning from end to end: the same whatever its layout, and whatever has interrupted it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dataprep.errors import DataError
from model.init import initial_value
from pipeline.checkpoint.format import find
from pipeline.checkpoint.weights import open_weights
from pipeline.errors import UsageError
from pipeline.finetune import checkpoints, loop, record, scoring, tuned
from pipeline.finetune.predictions import path_of
from pipeline.finetune.results import read_results
from pipeline.monitor.run_files import joined_metrics
from support import cli
from support.finetuning import Tuning, write_set
from support.kills import die_before, killed
from support.ranks import Ranks
from support.submitted import status

SELECTING = {"select": "accuracy", "evaluate_at": [2], "checkpoint_every": 3, "lr": 0.3, "lm_coef": 0.1}
"""Scores rise and fall at this rate, so that neither the first nor the last weights are the best."""


def weights(tuning: Tuning) -> dict[str, torch.Tensor]:
    return load_file(tuning.seed_0 / "model.safetensors")


def timeless(tuning: Tuning) -> list[dict[str, Any]]:
    """The rows of metrics without who wrote them, when, and how fast."""
    measured = ("attempt", "time", "tokens_per_s")
    return [{k: v for k, v in row.items() if k not in measured} for row in joined_metrics(tuning.seed_0)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> Tuning:
    """Two seeds trained to the end. Leave it as it is."""
    made = Tuning.make(tmp_path_factory.mktemp("unbroken"), pretrained, seeds=[0, 1], **SELECTING)
    assert not made.train()
    return made


@pytest.mark.slow(3)
def test_every_seed_leaves_a_model_its_predictions_and_its_scores(unbroken: Tuning) -> None:
    found = read_results(unbroken.home / "tuned")
    (score,) = found.scores
    assert set(score.seeds) == {0, 1}
    written = record.read(unbroken.seed_0)
    assert written.scores == {"accuracy": score.seeds[0]}
    rows = [row for row in timeless(unbroken) if "val_loss" in row]
    assert [row["step"] for row in rows] == [2, 4, 8, 12], "and epochs of four updates"
    assert len({row["dev/accuracy"] for row in rows}) > 1, "there is something to select"
    best = max(rows, key=lambda row: (row["dev/accuracy"], -row["step"]))
    assert (written.step, written.scores["accuracy"]) == (best["step"], best["dev/accuracy"])
    assert not torch.equal(weights(unbroken)["wte.weight"][-3:], other_seed(unbroken)["wte.weight"][-3:])


def other_seed(tuning: Tuning) -> dict[str, torch.Tensor]:
    return load_file(tuning.seed_0.with_name("seed-1") / "model.safetensors")


class After:
    """A stop request that comes when it has been looked for so many times."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __bool__(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.slow(1)
@pytest.mark.parametrize("looks", [5, 1000])
def test_of_equal_scores_the_first_is_selected(tmp_path: Path, pretrained: Path, looks: int) -> None:
    """Also when a resume has to find it again."""
    tuning = Tuning.make(tmp_path, pretrained, **{**SELECTING, "lr": 1e-12, "epochs": 2})
    if tuning.train(stop=After(looks)):
        assert not tuning.train()
    rows = [row for row in timeless(tuning) if "val_loss" in row]
    assert [row["step"] for row in rows] == [2, 4, 8]
    assert len({row["dev/accuracy"] for row in rows}) == 1
    written = record.read(tuning.seed_0)
    assert (written.step, written.resumes) == (2, [] if looks == 1000 else [6])


@pytest.mark.slow(1)
def test_a_fine_tuned_model_predicts_what_was_written(unbroken: Tuning, tmp_path: Path) -> None:
    test = write_set(tmp_path / "test.jsonl", 9, seed=1)  # the dev set once more
    found = scoring.score(unbroken.seed_0, test)
    assert found["examples"] == 9
    assert found["scores"] == record.read(unbroken.seed_0).scores
    assert not path_of(unbroken.seed_0, "test").exists()
    with pytest.raises(UsageError, match="its settings name no finetune"):
        scoring.score(unbroken.seed_0)


@pytest.mark.slow(1)
def test_its_status_and_log_are_those_of_the_seed_that_began_last(unbroken: Tuning) -> None:
    directory = unbroken.home / "tuned"
    (score,) = read_results(directory).scores
    *_, last = joined_metrics(directory / "seed-1")
    code, shown, found = status(directory)
    assert code == 0
    assert f"  seeds done: 2, mean dev accuracy {score.mean:.4f}; seed-1 began last:\n" in shown
    assert f"  step 12, {last['tokens']:,} of {last['tokens']:,} tokens, loss " in shown
    assert f", dev accuracy {last['dev/accuracy']:.4f}\n" in shown
    (seen,) = found["directories"]
    assert (seen["kind"], seen["seeds"]["done"], seen["run"]["code"]) == ("fine-tuning", [0, 1], 0)
    assert f"{directory}/seed-1/attempts/0001/log.txt" in cli.run("logs", directory).stdout.replace("\n", "")


def test_a_model_whose_file_was_altered_is_refused(unbroken: Tuning, tmp_path: Path) -> None:
    for path in unbroken.seed_0.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="is not the file that finetune"):
        tuned.load(tmp_path)


@pytest.mark.slow(4)
def test_killed_again_and_again_it_ends_as_if_it_had_not_been(
    tmp_path: Path, pretrained: Path, unbroken: Tuning
) -> None:
    tuning = Tuning.make(tmp_path, pretrained, **SELECTING)

    def die(call: int, owner: Any, name: str) -> None:
        die_before(call, owner, name)
        tuning.train()

    kills = [
        (5, loop.Trainer, "update"),
        (2, checkpoints.CheckpointWriter, "publish"),
        (1, tuned, "_write_weights"),
    ]
    for call, owner, name in kills:
        assert killed(die, call, owner, name)
    assert not tuning.train()
    rows = timeless(tuning)
    assert rows == timeless(unbroken)
    assert [row["step"] for row in rows if "loss" in row] == [*range(1, 13)]
    for name, value in weights(unbroken).items():
        assert torch.equal(weights(tuning)[name], value), name
    written = [replace_times(record.read(each.seed_0)) for each in (tuning, unbroken)]
    assert written[0] == written[1]
    assert record.read(tuning.seed_0).resumes, "it went on from checkpoints"


def replace_times(found: record.Record) -> Any:
    import msgspec

    return msgspec.structs.replace(found, seconds=0.0, resumes=[], config={})


@pytest.mark.slow(2)
def test_a_stop_saves_and_the_same_command_goes_on(
    tmp_path: Path, pretrained: Path, unbroken: Tuning
) -> None:
    tuning = Tuning.make(tmp_path, pretrained, **SELECTING)
    assert tuning.train(stop=True)
    checkpoint = find(tuning.seed_0)
    assert checkpoint is not None
    assert checkpoint.state.step == 1
    assert not tuning.train()
    assert timeless(tuning) == timeless(unbroken)


def test_a_training_goes_on_with_its_own_settings_and_data_only(tmp_path: Path, pretrained: Path) -> None:
    tuning = Tuning.make(tmp_path, pretrained)
    tuning.train(stop=True)
    with pytest.raises(UsageError, match=r"finetune\.lr: was 0\.02, is 0\.1"):
        tuning.train("finetune.lr=0.1")
    first, _, rest = (tmp_path / "train.jsonl").read_text().partition("\n")
    (tmp_path / "train.jsonl").write_text(f"{rest}{first}\n")
    with pytest.raises(UsageError, match="the content of the data: was"):
        tuning.train()


def test_a_seed_that_is_done_is_not_taken_for_one_of_other_settings(unbroken: Tuning) -> None:
    with pytest.raises(UsageError, match=r"finetune\.lr: was 0\.3, is 0\.1"):
        unbroken.train("finetune.lr=0.1")


def test_all_seeds_begin_with_one_checkpoint(tmp_path: Path, pretrained: Path) -> None:
    tuning = Tuning.make(tmp_path, pretrained)
    Path(tuning.settings["dir"]).mkdir()
    (tmp_path / "tuned" / "start.json").write_text('{"step": 9}')  # as an earlier seed has left it
    with pytest.raises(UsageError, match=r"is at step None now, .* began with step 9: use another"):
        tuning.train()


@pytest.mark.slow(8)
def test_two_processes_take_the_steps_of_one(tmp_path: Path, pretrained: Path) -> None:
    # The gradient of a key's bias is 0 but for rounding, which Adam would make as large as any other.
    how = {"eps": 1e-4, "lr": 2e-3, "max_grad_norm": 0.0, "warmup": 0.0}
    tuning = Tuning.make(tmp_path, pretrained, kind="similarity", **how)
    one = ["finetune.epochs=1", "finetune.batch=20", "finetune.dropout=0"]
    twenty = ["finetune.epochs=5", "finetune.dropout=0.2"]
    # After one update exp_avg is a tenth of the gradient.
    for words, updates, kind, tolerance in ((one, 1, "exp_avg/", 1e-7), (twenty, 20, "weight/", 1e-5)):
        alone, together = (tmp_path / f"{name}-{updates}" for name in ("alone", "together"))
        tuning.train(*words, f"finetune.dir={alone}")
        arguments = [str(tuning.written()), *words, f"finetune.dir={together}"]
        ranks = Ranks(tmp_path, arguments, [{}] * 2, "pipeline.finetune.worker")
        assert ranks.wait() == [0, 0], ranks.reported() + ranks.told()
        expected, found = (find(each / "seed-0") for each in (alone, together))
        assert expected is not None
        assert found is not None
        assert (found.state.step, found.state.processes) == (updates, 2)
        for name in (each for each in expected.tensors if each.startswith(kind)):
            torch.testing.assert_close(
                found.tensor(name), expected.tensor(name), rtol=0, atol=tolerance, msg=name
            )


@pytest.mark.slow(2)
def test_from_scratch_keeps_shape_and_tokenizer_and_begins_with_random_weights(
    tmp_path: Path, pretrained: Path
) -> None:
    tuning = Tuning.make(tmp_path, pretrained, lr=1e-9, epochs=1)  # too low a rate to leave the beginning
    taken, scratch = ({}, {})
    for name, begun in (("taken", taken), ("scratch", scratch)):
        tuning.train(f"finetune.from_scratch={name == 'scratch'}", f"finetune.dir={tmp_path / name}")
        begun |= load_file(tmp_path / name / "seed-0" / "model.safetensors")
    known = open_weights(pretrained)
    assert taken.keys() == scratch.keys()
    for name, value in taken.items():
        drawn = initial_value(name, tuple(value.shape), known.config, seed=0)
        there = drawn if name.startswith("classifier") else known.tensor(name)
        torch.testing.assert_close(value[: len(there)], there, rtol=0, atol=1e-6)
        if name != "wte.weight":  # drawn with its padding
            torch.testing.assert_close(scratch[name], drawn, rtol=0, atol=1e-6)
    assert not torch.allclose(scratch["wte.weight"], taken["wte.weight"], atol=1e-3)


@pytest.mark.slow(1)
def test_without_the_language_model_rows_of_other_words_stay(tmp_path: Path, pretrained: Path) -> None:
    tuning = Tuning.make(tmp_path, pretrained, lm_coef=0.0, weight_decay=0.0)
    tuning.train()
    unseen = 7  # a byte of no text
    assert not any("lm_loss" in row for row in timeless(tuning))
    there = open_weights(pretrained).tensor("wte.weight")
    assert torch.equal(weights(tuning)["wte.weight"][unseen], there[unseen])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "the links", "label": "d"}', r"dev\.jsonl:10: the label 'd' is none of a, b, c"),
        ('{"text": "   ", "label": "a"}', r"dev\.jsonl:10: "),
    ],
)
def test_a_row_that_training_cannot_take_is_named(
    tmp_path: Path, pretrained: Path, row: str, message: str
) -> None:
    tuning = Tuning.make(tmp_path, pretrained)
    with (tmp_path / "dev.jsonl").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(DataError, match=message):
        tuning.train()
    assert not tuning.seed_0.exists()


def test_a_question_with_other_answers_than_those_of_training_is_named(
    tmp_path: Path, pretrained: Path
) -> None:
    columns = {"context": "text", "answers": "answers", "label": "right"}
    tuning = Tuning.make(tmp_path, pretrained, kind="multiple_choice", columns=columns)
    for name, answers in (("train", '["one", "two"]'), ("dev", '["one", "two", "three"]')):
        rows = [f'{{"text": "the", "answers": {answers}, "right": "{label}"}}\n' for label in "ABABAB"]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows))
    with pytest.raises(DataError, match=r"dev\.jsonl:1: has 3 answers, and the training set 2"):
        tuning.train()
