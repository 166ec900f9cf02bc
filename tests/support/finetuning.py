"""Tiny fine-tunings: a pretrained model of two blocks, and labelled texts of each kind."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.train import train as train_tokenizer
from model import GPT, GPTConfig
from model.init import initialise
from pipeline.distributed.ranks import Rank
from pipeline.finetune.settings import FinetuneConfig, load_config
from pipeline.finetune.start import finetune_as_rank
from support import hf_directory

WORDS = "the links of the people that voted and the pages that the links lead to".split()
COLUMNS: dict[str, Any] = {
    "classification": {"text": "text", "label": "label"},
    "entailment": {"premise": "one", "hypothesis": "two", "label": "label"},
    "similarity": {"first": "one", "second": "two", "label": "label"},
    "multiple_choice": {"context": "text", "answers": ["one", "two", "three"], "label": "right"},
}
ALONE = Rank(global_rank=0, world_size=1, local_rank=0)


def write_pretrained(directory: Path, **model: Any) -> Path:
    """A model of a seed, and a tokenizer, as a directory of Hugging Face's format."""
    directory.mkdir()
    train_tokenizer([" ".join(WORDS) * 20], 300, directory)
    vocab_size = tokenizer.load(directory).vocab_size
    shape = {"n_layer": 2, "n_head": 2, "d_model": 16, "n_ctx": 48, "norm": "post", **model}
    config = GPTConfig(vocab_size=vocab_size, **shape)
    gpt = GPT(config)
    initialise(gpt.named_parameters(), config, seed=1)
    return hf_directory.write(gpt, directory)


def write_set(path: Path, examples: int, seed: int = 0) -> Path:
    """Rows of words, some of which belong to a class."""
    draw = random.Random(seed)
    rows = []
    for _ in range(examples):
        label = draw.randrange(3)
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(4)]
        row = dict(zip(("text", "one", "two", "three"), texts, strict=True))
        row["text"] += f" {'abc'[label]}"
        rows.append({**row, "label": "abc"[label], "right": "ABC"[label], "grade": draw.randint(0, 20) / 4})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass(frozen=True)
class Tuning:
    """A fine-tuning in a directory of the test's own; `settings` are those of the section finetune."""

    home: Path
    settings: dict[str, Any]

    @staticmethod
    def make(home: Path, pretrained: Path, **settings: Any) -> Tuning:
        """A classification over a set of 20 examples and a dev set of 9, four updates an epoch."""
        kind = settings.get("kind", "classification")
        return Tuning(
            home,
            {
                "dir": str(home / "tuned"),
                "init_from": str(pretrained),
                "kind": kind,
                "train": str(write_set(home / "train.jsonl", 20)),
                "dev": str(write_set(home / "dev.jsonl", 9, seed=1)),
                "columns": COLUMNS[kind],
                "metrics": ["accuracy"],
                "lr": 2e-2,
                "warmup": 0.1,
                "batch": 5,
                **settings,
            },
        )

    @property
    def dir(self) -> Path:
        return Path(self.settings["dir"])

    @property
    def seed_0(self) -> Path:
        return self.dir / "seed-0"

    def written(self) -> Path:
        """The YAML, in a file."""
        path = self.home / "finetune.yaml"
        path.write_text(yaml.safe_dump({"finetune": self.settings, "wandb": {"mode": "disabled"}}))
        return path

    def config(self, *overrides: str) -> FinetuneConfig:
        return load_config(self.written(), [*overrides])

    def train(self, *overrides: str, stop: Any = False) -> bool:
        """Train in this process; returns whether it was stopped."""
        return finetune_as_rank(self.config(*overrides), ALONE, stop)
