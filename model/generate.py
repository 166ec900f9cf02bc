"""Text from a dense GPT: tokens drawn one by one, for several prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.gpt import GPT
from model.incremental import IncrementalDecoder

Stop = Callable[[Sequence[int]], bool]
"""Whether a text ends with its last token; the argument is its new tokens."""

SORTED = 1024
"""For top-p, so many of the likeliest tokens are sorted; the whole vocabulary, where these are too few."""


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
    seeds: Sequence[int] | None = None,
    eot: int | None = None,
    stop: Stop | None = None,
) -> list[list[int]]:
    """Return up to `max_new_tokens` tokens that follow each prompt.

    A text ends before `eot`, which is left out, and after the first token at which `stop` is true. Prompts
    may have different lengths; each gets the tokens that it would get alone. `seeds`, one for each prompt,
    replace those of `sampling`. The model is put into evaluation mode.

    Raises ValueError when a prompt is empty.
    """
    sampling = sampling or Sampling()
    new: list[list[int]] = [[] for _ in prompts]
    seeds = range(sampling.seed, sampling.seed + len(prompts)) if seeds is None else seeds
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    decoder = IncrementalDecoder(model, prompts)
    running = list(range(len(prompts)))  # the text of each of the decoder's rows
    for length in range(1, max_new_tokens + 1):
        if not running:
            break
        staying, added = [], []
        drawn = sample(decoder.logits(), sampling, [generators[text] for text in running])
        for row, (text, token) in enumerate(zip(running, drawn, strict=True)):
            if token == eot:
                continue
            new[text].append(token)
            if length < max_new_tokens and (stop is None or not stop(new[text])):
                staying.append(row)
                added.append(token)
        if len(staying) < len(running):
            decoder.select(staying)
            running = [running[row] for row in staying]
        decoder.append(added)
    return new


def sample(logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> list[int]:
    """Draw a token for each row of (rows, vocab) logits, with one number from the row's own CPU generator.

    The probabilities are scaled by temperature, cut to the top k, then to the top p.
    """
    if sampling.temperature == 0:
        likeliest: list[int] = logits.argmax(-1).tolist()
        return likeliest
    weights, ids = (logits / sampling.temperature).softmax(-1), None
    if sampling.top_k is not None:
        weights, ids = weights.topk(min(sampling.top_k, weights.size(-1)))
    if sampling.top_p is not None and sampling.top_p < 1:
        wanted = sampling.top_p * weights.sum(-1, keepdim=True)
        if ids is None:
            weights, ids = _likeliest(weights, wanted)
        before = weights.cumsum(-1) - weights
        weights = weights.where(before < wanted, 0)
    sums = weights.cumsum(-1)
    # Rounding must not reach the whole sum: the last tokens may have no weight.
    below = sums[:, -1:].nextafter(sums.new_zeros(1))
    drawn = torch.stack([torch.rand(1, generator=generator) for generator in generators]).to(sums.device)
    places = torch.searchsorted(sums, (drawn * sums[:, -1:]).minimum(below), right=True)
    tokens: list[int] = (places if ids is None else ids.gather(-1, places)).flatten().tolist()
    return tokens


def _likeliest(weights: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each row's weights, in order, and their ids, as many as sum to `wanted` (rows, 1)."""
    largest, ids = weights.topk(min(SORTED, weights.size(-1)))
    short = (largest.sum(-1, keepdim=True) < wanted).flatten()
    if short.any():
        # To sort the whole vocabulary is slow, so only these rows are; the others stay as they are.
        largest, ids = (F.pad(each, (0, weights.size(-1) - each.size(-1))) for each in (largest, ids))
        largest[short], ids[short] = weights[short].sort(descending=True, stable=True)
    return largest, ids
