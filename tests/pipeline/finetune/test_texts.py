"""`kind: lm`: texts are packed once, and pretraining continues on them from the model that was given."""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dataprep.errors import DataError
from model import GPT
from pipeline.checkpoint.weights import open_weights
from pipeline.config import load_config
from pipeline.config.named import ROOT
from pipeline.data.sources import Samples
from pipeline.errors import RunError, UsageError
from pipeline.finetune import settings, texts
from pipeline.monitor.run_files import joined_metrics
from support import cli
from support.finetuning import WORDS
from support.kills import die_before, killed
from support.ready_corpus import no_progress


@dataclass(frozen=True)
class Continued:
    """A continued pretraining in a directory of the test's own."""

    home: Path
    settings: dict[str, Any]

    @staticmethod
    def make(home: Path, pretrained: Path, **changed: Any) -> Continued:
        """Three texts, one of them gzipped."""
        folder = home / "texts"
        folder.mkdir()
        written = {name: " ".join(random.Random(name).choices(WORDS, k=300)).encode() for name in "abc"}
        for name in "ab":
            (folder / f"{name}.txt").write_bytes(written[name])
        (folder / "c.txt.gz").write_bytes(gzip.compress(written["c"]))
        common = {"kind": "lm", "dir": str(home / "lm"), "init_from": str(pretrained), "train": str(folder)}
        numbers = {"held_out": 0.4, "lr": 1e-3, "batch": 2, "epochs": 1, "dropout": 0.0}
        return Continued(home, common | numbers | changed)

    @property
    def path(self) -> Path:
        """The YAML, in a file."""
        path = self.home / "texts.yaml"
        path.write_text(yaml.safe_dump({"finetune": self.settings, "wandb": {"mode": "disabled"}}))
        return path

    def prepare(self) -> texts.Prepared:
        config = texts.load_config(settings.read(self.path, []), str(self.path))
        return texts.prepare(config, 1, no_progress)


@pytest.mark.slow(14)
def test_a_model_goes_on_learning_on_texts_that_are_packed_once(tmp_path: Path, pretrained: Path) -> None:
    made = Continued.make(tmp_path, pretrained)

    def die(name: str) -> None:
        die_before(1, texts, name)
        made.prepare()

    assert all(killed(die, name) for name in ("pack", "save_funnel", "_run"))
    first = cli.result("finetune", made.path)
    run, generations = tmp_path / "lm" / "run", [*(tmp_path / "lm" / "tokens").glob("generation-*")]
    row = joined_metrics(run)[0]
    assert row["loss"] == pytest.approx(loss_of_the_first_batch(made, pretrained), abs=1e-5)
    packed = [(path, path.stat().st_mtime_ns) for path in generations]
    again = cli.result("finetune", made.path, "finetune.epochs=2")
    assert (again["steps"], again["resumes"]) == (2 * first["steps"], [first["steps"]])
    assert [(path, path.stat().st_mtime_ns) for path in generations] == packed
    assert len(packed) == 1
    assert again["val_loss"] < first["val_loss"], "on the text that is held out"
    ended = cli.run("generate", run, "--prompt", "the", "--max-tokens", 2)
    assert ended.returncode == 0, ended.stderr


def loss_of_the_first_batch(made: Continued, pretrained: Path) -> float:
    """The pretrained model's own, on the sequences that the first update takes."""
    weights = open_weights(pretrained)
    model = GPT(weights.config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            there = weights.tensor(name)
            parameter.zero_()[tuple(map(slice, there.shape))] = there  # rows of padding count in no loss
        config, sources = load_config(made.home / "lm" / "train.yaml", [])
        assert config.run.seed == 0
        samples = Samples.of(sources, weights.config.n_ctx, 0, config.data.order_block_sequences)
        rows = torch.from_numpy(samples.rows(np.arange(made.settings["batch"])).astype(np.int64))
        return float(model(rows[:, :-1], rows[:, 1:]))


@pytest.mark.slow(2)
def test_other_texts_than_at_the_first_call_are_refused(tmp_path: Path, pretrained: Path) -> None:
    made = Continued.make(tmp_path, pretrained)
    made.prepare()
    (tmp_path / "texts" / "a.txt").write_text("the links")
    with pytest.raises(DataError, match=r"texts: is not what .*corpus was made of \(a\.txt\): restore"):
        made.prepare()


@pytest.mark.slow(2)
def test_what_cannot_be_learned_is_refused_in_a_line(tmp_path: Path, pretrained: Path) -> None:
    made = Continued.make(tmp_path, pretrained)
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in pretrained.glob("*.safetensors"):
        (bare / path.name).symlink_to(path)
    (bare / "config.json").write_bytes((pretrained / "config.json").read_bytes())
    (tmp_path / "empty").mkdir()
    (tmp_path / "short.txt").write_text("the links")
    (tmp_path / "rows.jsonl").write_text('{"text": "the links"}\n')
    (tmp_path / "mixed").mkdir()
    for name in ("short.txt", "rows.jsonl"):
        (tmp_path / "mixed" / name).write_bytes((tmp_path / name).read_bytes())
    mistakes: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"train": "absent"}, UsageError, r"finetune\.train: absent: no such file or folder"),
        ({"train": str(tmp_path / "empty")}, UsageError, "empty holds no text"),
        ({"train": str(tmp_path / "mixed")}, UsageError, "mixed holds text and jsonl files"),
        ({"init_from": str(bare)}, RunError, "bare: has no tokenizer"),
        ({"micro_batch": 4}, UsageError, r"finetune\.micro_batch: 4 does not divide 2, "),
        ({"batch": 1000}, UsageError, r"finetune\.batch: 1000 is more than the \d+ sequences of an epoch"),
        ({"held_out": 1e-9}, DataError, "its 0 held-out documents have 0 tokens"),
        ({"train": str(tmp_path / "rows.jsonl")}, DataError, r"less than one sequence of 48"),
    ]
    for number, (changed, error, message) in enumerate(mistakes):
        wrong = Continued(tmp_path, made.settings | {"dir": str(tmp_path / f"wrong-{number}")} | changed)
        with pytest.raises(error, match=message):
            wrong.prepare()
    with pytest.raises(UsageError, match="lm has no job of its own"):
        settings.load_config(made.path, [])


def test_the_configuration_of_books_is_whole() -> None:
    path = ROOT / "finetune" / "books.yaml"
    assert texts.load_config(settings.read(path, []), str(path)).finetune.kind == "lm"
