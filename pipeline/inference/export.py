"""A run's newest checkpoint as a directory that Hugging Face's transformers loads."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataprep.tokenizer.gpt2_files import MERGES, VOCABULARY
from dataprep.tokenizer.tokenizer import HUGGINGFACE, Tokenizer
from model import hf
from pipeline.checkpoint.described import write_tokenizer
from pipeline.checkpoint.weights import Weights, open_weights
from pipeline.errors import UsageError


def export(
    run: Path, directory: Path, describe: Callable[[Path, Weights, Path], str] | None = None
) -> dict[str, Any]:
    """Write config.json, safetensors and the tokenizer; the directory appears whole or not at all.

    describe: makes the text of README.md from the run, its weights, and the directory of the other files.

    Returns {"directory", "class", "step", "tokenizer": whether there is one}. Raises RunError when the run
    has no whole checkpoint, UsageError for a model that transformers cannot compute, or a taken directory.
    """
    if directory.exists():
        raise UsageError(f"{directory}: exists: choose another directory, or remove it first")
    weights = open_weights(run)
    tokenizer = weights.tokenizer
    try:
        described = hf.to_hf_config(weights.config)
    except ValueError as error:
        raise UsageError(f"{run}: {error}") from None
    beside = directory.with_name(f"writing-{directory.name}")
    if beside.exists():
        shutil.rmtree(beside)
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        error.filename = str(directory)  # what the user gave
        raise
    hf.write(weights.config, weights.tensor, beside, tokenizer.eot if tokenizer else None)
    if tokenizer:
        _write_tokenizer(run, tokenizer, weights.config.n_ctx, beside)
    if describe:
        (beside / "README.md").write_text(describe(run, weights, beside), encoding="utf-8")
    beside.rename(directory)
    return {
        "directory": str(directory),
        "class": described["architectures"][0],
        "step": weights.step,
        "tokenizer": tokenizer is not None,
    }


def _write_tokenizer(run: Path, tokenizer: Tokenizer, n_ctx: int, directory: Path) -> None:
    """Write `tokenizer.json`, which gives the same ids, and for older tools GPT-2's files by HF's names."""
    from tokenizers import Tokenizer as Model

    content = tokenizer.huggingface()
    (directory / HUGGINGFACE).write_text(content, encoding="utf-8")
    eot = Model.from_str(content).id_to_token(tokenizer.eot)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": n_ctx,
        "clean_up_tokenization_spaces": False,
        "bos_token": eot,
        "eos_token": eot,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    with tempfile.TemporaryDirectory() as own:
        write_tokenizer(run, Path(own))
        for ours, theirs in ((MERGES, "merges.txt"), (VOCABULARY, "vocab.json")):
            if ours in tokenizer.files:
                shutil.copyfile(Path(own, ours), directory / theirs)
