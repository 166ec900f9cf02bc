"""Whether a run can begin with the weights of another model: decided without torch, and without tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataprep.tokenizer.tokenizer import load
from model.config import GPTConfig
from model.hf_directory import CONFIG, tensor_files
from pipeline.checkpoint.described import read_model_config, tokenizer_of
from pipeline.checkpoint.format import first_whole, newest
from pipeline.data.sources import Sources


def check_weights(where: Path, config: GPTConfig, sources: Sources) -> list[str]:
    """Why a run over these tokens cannot begin with the weights that lie there; nothing when it can."""
    theirs, ours = (_tensors_and_meaning(model) for model in (read_model_config(where), config))
    found = [
        f"model.{name}: {ours[name]} is not {theirs[name]}, which {where} has: it is another model"
        for name in ours
        if ours[name] != theirs[name]
    ]
    if reason := why_no_tensors(where):
        found.append(f"run.init_from: {reason}")
    packed_with = sources.tokenizer
    tokenizer = None if found else tokenizer_of(where)
    if tokenizer and packed_with.is_dir() and tokenizer.huggingface() != load(packed_with).huggingface():
        found.append(
            f"run.init_from: {where} learned with another tokenizer than {packed_with.parent} was packed "
            "with: pack the text again with that one"
        )
    return found


def why_no_tensors(where: Path) -> str | None:
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
