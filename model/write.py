"""Texts after many prompts, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

from model.beam import Beam, beam_search
from model.config import GPTConfig
from model.generate import Sampling, Stop, generate
from model.gpt import GPT

CACHE_BYTES = 2**30
"""Memory for the keys and values of one batch; a cache reserves up to half as much again."""


def write(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    how: Sampling | Beam,
    *,
    seeds: Sequence[int] | None = None,
    eot: int | None = None,
    stop: Stop | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> list[list[int]]:
    """Return the tokens that follow each prompt, in the order of the prompts, however many there are.

    Text i is drawn with seeds[i], or with how.seed + i. Prompts of like length are written together, so the
    batches do not depend on the order of the prompts. The other arguments are those of `generate`.

    Raises ValueError when a prompt is empty, or a setting is out of range.
    """
    if seeds is None and isinstance(how, Sampling):
        seeds = range(how.seed, how.seed + len(prompts))
    rows = how.width if isinstance(how, Beam) else 1
    sizes = [rows * min(len(prompt) + max_new_tokens, model.config.n_ctx) for prompt in prompts]
    room = cache_bytes // _bytes_per_token(model.config, next(model.parameters()).element_size())
    written: dict[int, list[int]] = {}
    for places in batches(sizes, room):
        batch = [prompts[place] for place in places]
        if isinstance(how, Beam):
            found = beam_search(
                model,
                batch,
                max_new_tokens,
                beams=how.width,
                length_penalty=how.length_penalty,
                eot=eot,
                stop=stop,
            )
        else:
            drawn_with = None if seeds is None else [seeds[place] for place in places]
            found = generate(model, batch, max_new_tokens, how, seeds=drawn_with, eot=eot, stop=stop)
        written |= zip(places, found, strict=True)
    return [written[place] for place in range(len(prompts))]


def batches(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Places of sizes in batches, the largest size first: what is likely to fail fails at once.

    Each member of a batch takes as much as its largest. So together they take `room` at most, or there is
    only one, and none is smaller than half of the largest.

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


def _bytes_per_token(config: GPTConfig, element_bytes: int) -> int:
    """What all layers cache of a token, as if none were banded."""
    return 2 * config.n_layer * config.n_head * config.head_width * element_bytes
