"""The model that a fine-tuning begins with: pretrained, or random in the same shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dataprep.tokenizer.tokenizer import Tokenizer, copy, load
from model import GPTConfig
from model.classifier import HEAD, Classifier
from model.init import initial_value
from pipeline.checkpoint.described import required, write_tokenizer
from pipeline.checkpoint.weights import open_weights
from pipeline.errors import UsageError
from pipeline.finetune.settings import FinetuneConfig


@dataclass(frozen=True)
class Initial:
    """A model without head and special tokens, and its tokenizer."""

    config: GPTConfig
    tokenizer: Tokenizer
    where: Path
    """A run, a directory in Hugging Face's format, or that of the tokenizer alone."""
    tensor: Callable[[str], Tensor] | None
    """A pretrained parameter by canonical name, unpadded; None from scratch."""
    step: int | None = None
    """Step of the pretraining run's checkpoint, if it comes from one."""

    def write_tokenizer(self, directory: Path) -> None:
        """Write the tokenizer in files of our own."""
        if not write_tokenizer(self.where, directory):
            copy(self.where, directory)

    def fill(self, model: Classifier, seed: int) -> None:
        """Give a model its first weights.

        New rows and the head are drawn anew for each seed, N(0, init_std); the paper's 0.02.
        """
        with torch.no_grad():
            for name, parameter in model.canonical():
                value = initial_value(name, tuple(parameter.shape), model.config, seed)
                if self.tensor and not name.startswith(HEAD):
                    known = self.tensor(name)
                    value[: len(known)] = known  # behind the vocabulary there are special tokens
                parameter.copy_(value)


def find(config: FinetuneConfig) -> Initial:
    """Open the model that the settings name.

    Raises RunError when there is none or it has no tokenizer, UsageError when the tokenizer does not fit.
    """
    settings = config.finetune
    if (where := settings.init_from) is not None:
        if not where.is_dir():
            raise UsageError(
                f"finetune.init_from: {where}: no such directory: give a run or a model's directory"
            )
        weights = open_weights(where)
        tokenizer = required(weights.tokenizer, where)
        tensor = None if settings.from_scratch else weights.tensor
        return Initial(weights.config, tokenizer, where, tensor, weights.step)
    assert config.model is not None  # FinetuneConfig has checked both
    assert settings.tokenizer is not None
    tokenizer = load(settings.tokenizer)
    if tokenizer.vocab_size > config.model.vocab_size:
        raise UsageError(
            f"model.vocab_size: {config.model.vocab_size} is below the tokenizer's {tokenizer.vocab_size}"
        )
    return Initial(config.model, tokenizer, settings.tokenizer, None)
