"""Pretraining helps, where it must: texts whose order alone shows their class, and few labels.

A text of the language belongs to one of three classes. In each class two letters, others than in the other
classes, follow every letter most of the time. So a model of the language infers the class in order to predict
the next letter, and without one 64 labels are few for so many pairs of letters.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.train import train as train_tokenizer
from model import GPT, GPTConfig
from model.init import initialise
from pipeline.finetune import scoring
from support import hf_directory
from support.finetuning import Tuning

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLASSES, LENGTH, LABELS, SEEDS = 3, 24, 64, 5
Array = npt.NDArray[np.int64]


def texts(count: int, seed: int, length: int = LENGTH) -> tuple[Array, Array]:
    """Classes (count,), equally many of each, and letters (count, length) by number."""
    letters, language = len(LETTERS), np.random.default_rng(0)
    follows = language.dirichlet(np.ones(letters), (CLASSES, letters)) * 0.2
    for table in follows:
        for _ in range(2):
            table[np.arange(letters), language.permutation(letters)] += 0.4
    limits = follows.cumsum(2)
    draw = np.random.default_rng(seed)
    classes = np.arange(count) % CLASSES
    found = [draw.integers(0, letters, count)]
    for _ in range(length - 1):
        below = limits[classes, found[-1]] < draw.random(count)[:, None]
        found.append(below.sum(1).clip(max=letters - 1))
    return classes, np.stack(found, 1)


def pretrain(directory: Path, shuffled: bool) -> Path:
    """Train a model of the language for seconds; shuffled: on the same letters of each batch in any order."""
    directory.mkdir()
    train_tokenizer(["00 00"], 258, directory)
    ids = np.array([tokenizer.load(directory).encode(letter)[0] for letter in LETTERS])
    config = GPTConfig(
        n_layer=2, n_head=4, d_model=48, n_ctx=LENGTH + 2, vocab_size=258, init_std=0.1, dropout=0.0
    )
    model = GPT(config)
    initialise(model.named_parameters(), config, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=(steps := 400))
    draw = np.random.default_rng(0)
    for step in range(steps):
        _, letters = texts(32, seed=1000 + step, length=LENGTH + 1)
        if shuffled:
            letters = draw.permutation(letters.ravel()).reshape(letters.shape)
        batch = torch.from_numpy(ids[letters])
        optimizer.zero_grad()
        model(batch[:, :-1], batch[:, 1:]).backward()
        optimizer.step()
        schedule.step()
    return hf_directory.write(model, directory)


def write(path: Path, count: int, seed: int) -> Path:
    rows = zip(*texts(count, seed), strict=True)
    lines = [f"{''.join(LETTERS[letter] for letter in text)}\t{label}\n" for label, text in rows]
    path.write_text("".join(lines))
    return path


def accuracies(home: Path, init_from: Path, from_scratch: bool = False) -> list[float]:
    """Fine-tune on the labels with each seed; accuracies on texts that no training saw."""
    home.mkdir()
    settings = {
        "dir": str(home / "tuned"),
        "init_from": str(init_from),
        "from_scratch": from_scratch,
        "kind": "classification",
        "train": str(write(home / "train.tsv", LABELS, seed=1)),
        "columns": {"text": 0, "label": 1},
        "metrics": ["accuracy"],
        "seeds": [*range(SEEDS)],
        "lr": 4e-3,
        "warmup": 0.1,
        "batch": 16,
        "epochs": 12,
        "dropout": 0.0,
    }
    Tuning(home, settings).train()
    unseen = write(home / "unseen.tsv", 600, seed=2)
    return [
        scoring.score(home / "tuned" / f"seed-{seed}", unseen)["scores"]["accuracy"] for seed in range(SEEDS)
    ]


@pytest.mark.slow(30)
def test_a_pretrained_model_wins_on_every_seed_and_one_of_shuffled_letters_does_not(tmp_path: Path) -> None:
    pretrained = pretrain(tmp_path / "language", shuffled=False)
    shuffled = pretrain(tmp_path / "letters", shuffled=True)
    scratch = accuracies(tmp_path / "scratch", pretrained, from_scratch=True)
    assert all(1 / CLASSES + 0.05 < score < 0.9 for score in scratch), "neither hopeless nor easy"
    won = accuracies(tmp_path / "pretrained", pretrained)
    assert all(one > other for one, other in zip(won, scratch, strict=True)), (won, scratch)
    control = accuracies(tmp_path / "shuffled", shuffled)
    assert fmean(control) < fmean(scratch), (control, scratch)
