"""finetune.json of DIR/seed-N, read without torch: what the model beside it is, and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from dataprep.store import checksummed_json
from pipeline.finetune.settings import Kind, Target
from pipeline.finetune.transformations import Specials

RECORD, WEIGHTS, TOKENIZER = "finetune.json", "model.safetensors", "tokenizer"
FORMAT = "outbound-finetune/1"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A fine-tuned model, apart from its tensors."""

    format: str = FORMAT
    weights_xxh3_128: str = ""
    """Hash of model.safetensors."""
    tokenizer: str = ""
    """Fingerprint of the tokenizer."""
    data: str
    """Hash of the encoded training and dev set."""
    model: dict[str, Any]
    """GPTConfig's fields; the vocabulary holds the special tokens."""
    kind: Kind
    target: Target
    labels: list[str]
    """Classes in their order; none of a regression or a grade."""
    specials: Specials
    length: int
    """Longest sequence in tokens."""
    too_long: Literal["cut", "refuse"]
    bias: bool
    """Whether the head has a bias."""
    config: dict[str, Any]
    """The settings: {"finetune": ..., "model": ..., "wandb": ...}."""
    seed: int
    step: int
    """Update after which the model stood so."""
    updates: int
    """Updates of the whole training."""
    train_examples: int
    cut: int
    """Texts of the training set that lost their end."""
    dev_examples: int
    scores: dict[str, float]
    """Metric -> score of this model on the dev set; none without one."""
    seconds: float
    """Training time, over all attempts."""
    resumes: list[int]
    """Updates after which it was resumed."""


def seeds_of(directory: Path) -> list[Path]:
    """The fine-tuned models that a directory is or holds, by seed; none of any other directory."""
    if (directory / RECORD).is_file():
        return [directory]
    found = [path.parent for path in directory.glob(f"seed-*/{RECORD}")]
    return sorted(found, key=lambda path: read(path).seed)


def read(directory: Path) -> Record:
    """Read finetune.json. Raises DataError when it is missing or damaged."""
    return checksummed_json.load(directory / RECORD, Record)
