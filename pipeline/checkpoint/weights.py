"""A trained model wherever it lies: a run's newest checkpoint, or a directory in Hugging Face's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dataprep.tokenizer.tokenizer import Tokenizer
from dataprep.tokenizer.tokenizer import load as load_tokenizer
from model import GPT, GPTConfig, hf
from model.hf_directory import CONFIG
from model.names import padded
from pipeline.checkpoint.described import (
    config_of,
    read_model_config,
    tokenizer_of,
    tokenizer_of_run,
)
from pipeline.checkpoint.format import Checkpoint, find_and_open
from pipeline.data.sources import Sources
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
    )


def check_weights(where: Path, config: GPTConfig, sources: Sources) -> list[str]:
    """Why a run over these tokens cannot begin with the weights that lie there; nothing when it can."""
    theirs, ours = (_tensors_and_meaning(model) for model in (read_model_config(where), config))
    found = [
        f"model.{name}: {ours[name]} is not {theirs[name]}, which {where} has: it is another model"
        for name in ours
        if ours[name] != theirs[name]
    ]
    packed_with = sources.tokenizer
    tokenizer = None if found else tokenizer_of(where)
    if (
        tokenizer
        and packed_with.is_dir()
        and tokenizer.huggingface() != load_tokenizer(packed_with).huggingface()
    ):
        found.append(
            f"run.init_from: {where} learned with another tokenizer than {packed_with.parent} was packed "
            "with: pack the text again with that one"
        )
    return found


def _tensors_and_meaning(config: GPTConfig) -> dict[str, Any]:
    """The fields in which weights must agree; dropout, initialisation and bands may change."""
    fields = ("n_layer", "n_head", "d_model", "n_ctx", "vocab_size", "norm", "tied", "norm_eps")
    shape = {name: getattr(config, name) for name in fields}
    return {**shape, "d_ff": config.ff_width, "d_head": config.head_width}
