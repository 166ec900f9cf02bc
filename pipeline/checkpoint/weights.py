"""A trained model wherever it lies: a run's newest checkpoint, or a directory in Hugging Face's format."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from dataprep.errors import DataError
from dataprep.tokenizer import gpt1, gpt2_files
from dataprep.tokenizer.tokenizer import HUGGINGFACE, Tokenizer
from dataprep.tokenizer.tokenizer import load as load_tokenizer
from model import GPT, GPTConfig, hf
from model.names import padded
from pipeline.checkpoint import attempts
from pipeline.checkpoint.format import find_and_open
from pipeline.data.sources import Sources
from pipeline.errors import RunError, UsageError


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
    if (where / hf.CONFIG).is_file():
        try:
            theirs = hf.HFWeights.open(where)
        except ValueError as error:
            raise RunError(str(error)) from None
        return Weights(
            where=where,
            config=theirs.config,
            tensor=theirs.tensor,
            tokenizer=_tokenizer_of(where),
            step=None,
        )
    checkpoint = find_and_open(where)
    if checkpoint is None:
        raise RunError(f"{where}: no checkpoint yet: train first")
    tokenizer = _tokenizer_of(where)
    if tokenizer and tokenizer.fingerprint != checkpoint.state.tokenizer_fingerprint:
        raise RunError(f"{where / 'tokenizer'}: is not the tokenizer that this run learned with: restore it")
    try:
        config = GPTConfig(**checkpoint.state.config["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{checkpoint.path}: describes no model ({error!r}): restore it from a copy") from None
    return Weights(
        where=where,
        config=config,
        tensor=lambda name: checkpoint.tensor(f"weight/{name}"),
        tokenizer=tokenizer,
        step=checkpoint.state.step,
    )


def read_model_config(where: Path) -> GPTConfig:
    """Describe the model without opening its tensors. Raises UsageError when there is none."""
    try:
        if (where / hf.CONFIG).is_file():
            return hf.read_config(where)
        settings = attempts.latest_file(where, "config.yaml")
        if settings is None:
            raise FileNotFoundError("no attempt has begun")
        return GPTConfig(**yaml.safe_load(settings.read_text())["model"])
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{where}: no model to begin with: expected a run, or a directory with {hf.CONFIG} ({error})"
        ) from None


def check_weights(where: Path, config: GPTConfig, sources: Sources) -> list[str]:
    """Why a run over these tokens cannot begin with the weights that lie there; nothing when it can."""
    theirs, ours = (_tensors_and_meaning(model) for model in (read_model_config(where), config))
    found = [
        f"model.{name}: {ours[name]} is not {theirs[name]}, which {where} has: it is another model"
        for name in ours
        if ours[name] != theirs[name]
    ]
    packed_with = sources.tokenizer
    tokenizer = None if found else _tokenizer_of(where)
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


def _tokenizer_of(where: Path) -> Tokenizer | None:
    if (where / hf.CONFIG).is_file():
        return _hf_tokenizer(where)
    return load_tokenizer(where / "tokenizer") if (where / "tokenizer").is_dir() else None


def _hf_tokenizer(where: Path) -> Tokenizer | None:
    """Read a tokenizer from `vocab.json` and `merges.txt`, or from a newer directory's `tokenizer.json`."""
    try:
        if (where / "vocab.json").is_file() and (where / "merges.txt").is_file():
            ids = json.loads((where / "vocab.json").read_bytes())
            merges = [line for line in (where / "merges.txt").read_text().split("\n") if line]
            merges = merges[merges[0].startswith("#version") :]
        elif (where / HUGGINGFACE).is_file():
            body = json.loads((where / HUGGINGFACE).read_bytes())
            added = {token["content"]: token["id"] for token in body["added_tokens"]}
            ids = {**body["model"]["vocab"], **added}
            merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in body["model"]["merges"]]
        else:
            return None
        names = gpt1.FILES if gpt1.UNKNOWN in ids and gpt1.NEWLINE in ids else gpt2_files.FILES
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{where}: its tokenizer's files are damaged ({error!r}): fetch them again") from None
    with tempfile.TemporaryDirectory() as room:
        (Path(room) / names[0]).write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
        (Path(room) / names[1]).write_text(json.dumps(ids), encoding="utf-8")
        try:
            return load_tokenizer(Path(room))
        except DataError as error:
            raise DataError(str(error).replace(room, str(where))) from None
