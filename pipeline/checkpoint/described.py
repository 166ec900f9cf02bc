"""A trained model without its tensors: its configuration and its tokenizer, read without torch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml

from dataprep.errors import DataError
from dataprep.store import files
from dataprep.tokenizer import gpt1, gpt2_files
from dataprep.tokenizer.tokenizer import HUGGINGFACE, Tokenizer, copy, load
from model.config import GPTConfig
from model.hf_directory import CONFIG, read_config
from pipeline.checkpoint import attempts
from pipeline.checkpoint.format import Checkpoint
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


def write_tokenizer(where: Path, directory: Path) -> bool:
    """Write the tokenizer of a model, in files of our own, into a directory; False when it holds none."""
    if (where / CONFIG).is_file():
        found = _hf_files(where)
        for name, content in (found or {}).items():
            files.replace(directory / name, content.encode())
        return found is not None
    if (where / "tokenizer").is_dir():
        copy(where / "tokenizer", directory)
        return True
    return False


def _hf_tokenizer(where: Path) -> Tokenizer | None:
    """Read a tokenizer of Hugging Face's format."""
    found = _hf_files(where)
    if found is None:
        return None
    with tempfile.TemporaryDirectory() as room:
        for name, content in found.items():
            (Path(room) / name).write_text(content, encoding="utf-8")
        try:
            return load(Path(room))
        except DataError as error:
            raise DataError(str(error).replace(room, str(where))) from None


def _hf_files(where: Path) -> dict[str, str] | None:
    """Our files by name, from `vocab.json` and `merges.txt`, or from a newer directory's `tokenizer.json`."""
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
    return {names[0]: "\n".join(["#version: 0.2", *merges, ""]), names[1]: json.dumps(ids)}
