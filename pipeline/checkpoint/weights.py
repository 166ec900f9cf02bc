"""A trained model wherever it lies: a run's newest checkpoint, or a directory in Hugging Face's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dataprep.tokenizer.tokenizer import Tokenizer
from model import GPT, GPTConfig, hf
from model.hf_directory import CONFIG
from model.names import padded
from pipeline.checkpoint.described import (
    config_of,
    tokenizer_of,
    tokenizer_of_run,
)
from pipeline.checkpoint.format import Checkpoint, find_and_open
from pipeline.checkpoint.run_state import RunState
from pipeline.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A trained model; its tensors are read when asked for."""

    where: Path
    config: GPTConfig
    tensor: Callable[[str], Tensor]
    """A parameter by canonical name: whole, unpadded, fp32."""
    tokenizer: Tokenizer | None
    """Tokenizer it was trained with; None when the directory holds none."""
    step: int | None
    """Step of the run's checkpoint; None for a model in Hugging Face's format."""
    state: RunState | None = None
    """All else of the run at that step; None for a model in Hugging Face's format."""

    def model(self) -> GPT:
        """Build the dense GPT in fp32, ready to evaluate."""
        model = GPT(self.config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(padded(name, self.tensor(name), self.config))
        return model.eval()


def open_weights(where: Path) -> Weights:
    """Open a run or a directory of Hugging Face's format.

    Raises RunError when there is nothing whole to open, or a run's tokenizer is not the one it learned with.
    """
    if (where / CONFIG).is_file():
        try:
            theirs = hf.HFWeights.open(where)
        except ValueError as error:
            raise RunError(str(error)) from None
        return Weights(
            where=where,
            config=theirs.config,
            tensor=theirs.tensor,
            tokenizer=tokenizer_of(where),
            step=None,
        )
    checkpoint = find_and_open(where)
    if checkpoint is None:
        raise RunError(f"{where}: no checkpoint yet: train first")
    return weights_of(where, checkpoint)


def weights_of(run: Path, checkpoint: Checkpoint) -> Weights:
    """The model that a checkpoint of a run holds. Raises RunError as `open_weights`."""
    return Weights(
        where=run,
        config=config_of(checkpoint),
        tensor=lambda name: checkpoint.tensor(f"weight/{name}"),
        tokenizer=tokenizer_of_run(run, checkpoint),
        step=checkpoint.state.step,
        state=checkpoint.state,
    )
