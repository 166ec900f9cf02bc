"""Text from a dense GPT: tokens drawn one by one, for several prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.gpt import GPT
from model.incremental import IncrementalDecoder

Stop = Callable[[Sequence[int]], bool]
"""Says of the new tokens of one text whether it ends with them."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is drawn. Raises ValueError for settings out of range."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token, without a draw."""
    top_k: int | None = None
    """Keep so many likeliest tokens."""
    top_p: float | None = None
    """Then keep the fewest likeliest whose probability reaches p (Holtzman et al. 2020)."""
    seed: int = 0
    """Text i of a batch is drawn with seed + i: its neighbours change nothing."""

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}: use 0 for greedy, or a number above")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}: keep at least 1 token, or leave it out")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: it is a probability above 0")


@torch.inference_mode()
def generate(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    eot: int | None = None,
    stop: Stop | None = None,
) -> list[list[int]]:
    """Return up to `max_new_tokens` tokens that follow each prompt.

    A text ends before `eot`, which is left out, and after the token with which `stop` says so. Prompts may
    have different lengths; each gets the tokens that it would get alone. The model is put into evaluation
    mode.

    Raises ValueError when a prompt is empty.
    """
    sampling = sampling or Sampling()
    new: list[list[int]] = [[] for _ in prompts]
    generators = [torch.Generator().manual_seed(sampling.seed + row) for row in range(len(prompts))]
    decoder = IncrementalDecoder(model, prompts)
    running = list(range(len(prompts)))  # the text of each of the decoder's rows
    for _ in range(max_new_tokens):
        if not running:
            break
        logits = decoder.logits().cpu()
        staying, added = [], []
        for row, text in enumerate(running):
            token = sample(logits[row], sampling, generators[text])
            if token == eot:
                continue
            new[text].append(token)
            if stop is None or not stop(new[text]):
                staying.append(row)
                added.append(token)
        if len(staying) < len(running):
            decoder.select(staying)
            running = [running[row] for row in staying]
        decoder.append(added)
    return new


def sample(logits: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> int:
    """Draw a token from (vocab,) logits: scaled by temperature, cut to the top k, then to the top p."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities, ids = (logits / sampling.temperature).softmax(-1).sort(descending=True, stable=True)
    if sampling.top_k is not None:
        probabilities = probabilities[: sampling.top_k]
    if sampling.top_p is not None:
        probabilities = probabilities / probabilities.sum()
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities[before < sampling.top_p]
    return int(ids[torch.multinomial(probabilities, 1, generator=generator)])
