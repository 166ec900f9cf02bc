"""A trained model without its tensors: its configuration and its tokenizer, read without torch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from dataprep.errors import DataError
from dataprep.tokenizer import gpt1, gpt2_files
from dataprep.tokenizer.tokenizer import HUGGINGFACE, Tokenizer, load
from model.config import GPTConfig
from model.hf_directory import CONFIG, read_config, tensor_files
from pipeline.checkpoint import attempts
from pipeline.checkpoint.format import Checkpoint, first_whole, newest
from pipeline.data.sources import Sources
from pipeline.errors import RunError, UsageError


def read_model_config(where: Path) -> GPTConfig:
    """Describe the model without opening its tensors. Raises UsageError when there is none."""
    try:
        if (where / CONFIG).is_file():
            return read_config(where)
        settings = attempts.latest_file(where, "config.yaml")
        if settings is None:
            raise FileNotFoundError("no attempt has begun")
        return GPTConfig(**yaml.safe_load(settings.read_text())["model"])
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{where}: no model to begin with: expected a run, or a directory with {CONFIG} ({error})"
        ) from None


def config_of(checkpoint: Checkpoint) -> GPTConfig:
    """Describe the model of a checkpoint. Raises RunError when it describes none."""
    try:
        return GPTConfig(**checkpoint.state.config["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{checkpoint.path}: describes no model ({error!r}): restore it from a copy") from None


def tokenizer_of_run(run: Path, checkpoint: Checkpoint) -> Tokenizer | None:
    """The tokenizer of a run; None when it holds none.

    Raises RunError when the checkpoint learned with another one.
    """
    tokenizer = tokenizer_of(run)
    if tokenizer and tokenizer.fingerprint != checkpoint.state.tokenizer_fingerprint:
        raise RunError(f"{run / 'tokenizer'}: is not the tokenizer that this run learned with: restore it")
    return tokenizer


def required(tokenizer: Tokenizer | None, where: Path) -> Tokenizer:
    """The tokenizer of a model that is given texts. Raises RunError when it holds none."""
    if tokenizer is None:
        raise RunError(f"{where}: has no tokenizer: copy the directory `tokenizer` of its tokens there")
    return tokenizer


def tokenizer_of(where: Path) -> Tokenizer | None:
    """The tokenizer of a run or of a directory of Hugging Face's format; None when it holds none.

    Raises DataError when its files are damaged.
    """
    if (where / CONFIG).is_file():
        return _hf_tokenizer(where)
    return load(where / "tokenizer") if (where / "tokenizer").is_dir() else None


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
            return load(Path(room))
        except DataError as error:
            raise DataError(str(error).replace(room, str(where))) from None


def check_weights(where: Path, config: GPTConfig, sources: Sources) -> list[str]:
    """Why a run over these tokens cannot begin with the weights that lie there; nothing when it can."""
    theirs, ours = (_tensors_and_meaning(model) for model in (read_model_config(where), config))
    found = [
        f"model.{name}: {ours[name]} is not {theirs[name]}, which {where} has: it is another model"
        for name in ours
        if ours[name] != theirs[name]
    ]
    if reason := _why_no_tensors(where):
        found.append(f"run.init_from: {reason}")
    packed_with = sources.tokenizer
    tokenizer = None if found else tokenizer_of(where)
    if tokenizer and packed_with.is_dir() and tokenizer.huggingface() != load(packed_with).huggingface():
        found.append(
            f"run.init_from: {where} learned with another tokenizer than {packed_with.parent} was packed "
            "with: pack the text again with that one"
        )
    return found


def _why_no_tensors(where: Path) -> str | None:
    """Why there is nothing to begin with, as far as it is seen without reading tensors."""
    if not (where / CONFIG).is_file():
        whole = first_whole(list(newest(where)), share=lambda names: [])
        return None if whole else f"{where}: no checkpoint yet: train it first"
    try:
        return next((f"{path}: is missing" for path in tensor_files(where) if not path.exists()), None)
    except ValueError as error:
        return str(error)


def _tensors_and_meaning(config: GPTConfig) -> dict[str, Any]:
    """The fields in which weights must agree; dropout, initialisation and bands may change."""
    fields = ("n_layer", "n_head", "d_model", "n_ctx", "vocab_size", "norm", "tied", "norm_eps")
    shape = {name: getattr(config, name) for name in fields}
    return {**shape, "d_ff": config.ff_width, "d_head": config.head_width}
