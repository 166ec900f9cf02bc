"""Texts after many prompts, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

from model.beam import Beam, beam_search
from model.config import GPTConfig
from model.generate import Sampling, Stop, generate
from model.gpt import GPT

MEMORY_BYTES = 2**30
"""Largest estimate of the memory of a batch, beside the model's."""


def write(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    how: Sampling | Beam,
    *,
    seeds: Sequence[int] | None = None,
    eot: int | None = None,
    stop: Stop | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> list[list[int]]:
    """Return the tokens that follow each of any number of prompts, in their order.

    Text i is drawn with seeds[i], or with how.seed + i. Prompts of like length are written together. `eot`
    and `stop` are those of `generate`.

    Raises ValueError when a prompt is empty.
    """
    rows = how.width if isinstance(how, Beam) else 1
    longest = [min(len(prompt) + max_new_tokens, model.config.n_ctx) for prompt in prompts]
    element_bytes = next(model.parameters()).element_size()
    sizes = [rows * _row_bytes(model.config, tokens, element_bytes) for tokens in longest]
    written: dict[int, list[int]] = {}
    for places in batches(sizes, memory_bytes):
        batch = [prompts[place] for place in places]
        if isinstance(how, Beam):
            found = beam_search(model, batch, max_new_tokens, how, eot=eot, stop=stop)
        else:
            own = [how.seed + place if seeds is None else seeds[place] for place in places]
            found = generate(model, batch, max_new_tokens, how, seeds=own, eot=eot, stop=stop)
        written |= zip(places, found, strict=True)
    return [written[place] for place in range(len(prompts))]


def batches(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Put sizes into batches: lists of their places, the largest size first, so that a failure comes early.

    Each member of a batch takes as much room as its largest. Together they take `room` at most, unless there
    is only one. None is smaller than half of the largest.

    >>> batches([3, 9, 4, 4, 1], 12)
    [[1], [2, 3, 0], [4]]
    """
    found: list[list[int]] = []
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        largest = sizes[found[-1][0]] if found else 0
        if not found or (len(found[-1]) + 1) * largest > room or 2 * sizes[place] < largest:
            found.append([])
        found[-1].append(place)
    return found


def _row_bytes(config: GPTConfig, tokens: int, element_bytes: int) -> int:
    """Estimate the memory of a row of so many tokens, as if no layer were banded."""
    # A cache reserves up to half as much again as it holds. One layer at a time computes the prompt.
    cached = 3 * config.n_layer * config.n_head * config.head_width
    computed = 4 * config.d_model + 2 * config.ff_width
    logits_bytes = 3 * 4 * config.vocab_size  # fp32: the logits, their probabilities, and the sums of these
    return tokens * (cached + computed) * element_bytes + logits_bytes
