"""Text from a run: its newest whole checkpoint in the dense GPT, and the tokenizer that it learned with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dataprep.tokens.tokenizer import load as load_tokenizer
from model import GPT, GPTConfig
from model.generate import generate
from model.names import padded
from pipeline.checkpoint import Checkpoint, find
from pipeline.errors import RunError, UsageError


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; temperature 0 takes the likeliest."""

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0


def generate_text(run: Path, prompt: str, max_tokens: int, sampling: Sampling) -> dict[str, Any]:
    """Continue a prompt; an empty one begins a document.

    Returns {"prompt", "text", "tokens", "step"}. Raises RunError when the run has no whole checkpoint or no
    tokenizer, UsageError for numbers that make no sense.
    """
    checkpoint = find(run)
    if checkpoint is None:
        raise RunError(f"{run / 'checkpoints'}: no checkpoint yet: train first")
    if not (run / "tokenizer").is_dir():
        raise RunError(f"{run / 'tokenizer'}: missing: copy the tokens' tokenizer directory there")
    tokenizer = load_tokenizer(run / "tokenizer")
    if tokenizer.fingerprint != checkpoint.state.tokenizer_fingerprint:
        raise RunError(f"{run / 'tokenizer'}: is not the tokenizer that this run learned with: restore it")
    model = load_model(checkpoint)
    try:
        new = generate(
            model,
            tokenizer.encode(prompt) or [tokenizer.eot],
            max_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            eot=tokenizer.eot,
            generator=torch.Generator().manual_seed(sampling.seed),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return {
        "prompt": prompt,
        "text": tokenizer.decode(new),
        "tokens": len(new),
        "step": checkpoint.state.step,
    }


def load_model(checkpoint: Checkpoint) -> GPT:
    """Build the dense GPT with a checkpoint's weights, in fp32, ready to evaluate."""
    config = GPTConfig(**checkpoint.state.config["model"])
    model = GPT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(padded(name, checkpoint.tensor(f"weight/{name}"), config))
    return model.eval()
