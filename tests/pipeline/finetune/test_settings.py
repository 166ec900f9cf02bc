"""Mistakes in a fine-tuning's YAML, each with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataprep.tokenizer.tokenizer import load
from pipeline.errors import UsageError
from pipeline.finetune.task import Task
from support.finetuning import Tuning

MISTAKES = {
    "finetune.epoch=3": "finetune.epoch: unknown key; write epochs",
    "finetune.columns={txt: 0, label: 1}": "columns.txt: unknown key; write text",
    "finetune.columns={text: 0, label: -1}": "columns.label: -1 is no column: the first is 0",
    "finetune.columns={text: 0}": "columns lacks label: classification has text, label",
    "finetune.metrics=[pearson]": "metrics: pearson does not measure the target classes: use accuracy",
    "finetune.select=f1": "select: f1 is none of metrics",
    "finetune.dev=null finetune.select=accuracy": "select: without dev there is no score",
    "finetune.seeds=[1, 1]": "seeds: one is there twice",
    "finetune.target=regression": "metrics: accuracy does not measure the target regression: use pearson",
    "finetune.init_from=null": "without finetune.init_from the model begins from scratch",
    "model.n_layer=2": "model.n_head",
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.items(), ids=[*MISTAKES])
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, words: str, message: str) -> None:
    tuning = Tuning.make(tmp_path, tmp_path / "absent")
    overrides = words.split(" ") if words.count("=") > 1 else [words]
    with pytest.raises(UsageError) as raised:
        tuning.config(*overrides)
    assert message in str(raised.value)


def test_mistakes_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        Tuning.make(tmp_path, tmp_path / "absent").config("finetune.select=f1", "finetune.seeds=[1,1]")
    assert "select: f1 is none of metrics" in str(raised.value)
    assert "seeds: one is there twice" in str(raised.value)


def test_less_than_a_batch_is_refused_by_the_recipe_that_takes_whole_ones(
    tmp_path: Path, pretrained: Path
) -> None:
    tuning = Tuning.make(tmp_path, pretrained, batch=32)
    with pytest.raises(UsageError, match="its 20 examples are less than finetune"):
        Task.of(tuning.config())
    assert Task.of(tuning.config("finetune.recipe=glue")).updates == 3


def test_an_absent_start_is_named(tmp_path: Path) -> None:
    tuning = Tuning.make(tmp_path, tmp_path / "absent")
    with pytest.raises(UsageError, match=r"finetune\.init_from: .*absent: no such directory"):
        Task.of(tuning.config())


def test_a_model_from_scratch_has_the_tokenizer_s_ids_and_three_more(
    tmp_path: Path, pretrained: Path
) -> None:
    tuning = Tuning.make(tmp_path, pretrained)
    shape: dict[str, Any] = {"n_layer": 1, "n_head": 1, "d_model": 8, "n_ctx": 32}
    words = ["finetune.init_from=null", f"finetune.tokenizer={pretrained}", f"model={shape}"]
    task = Task.of(tuning.config(*words))
    tokenizer = load(pretrained)
    assert task.model.vocab_size == tokenizer.vocab_size + 3
    task = Task.of(tuning.config(*words, "finetune.specials=eot"))
    assert task.model.vocab_size == tokenizer.vocab_size + 2
    assert task.transformation.specials.start == tokenizer.eot
