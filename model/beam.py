"""The likeliest continuation that a beam finds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.generate import Stop
from model.gpt import GPT
from model.incremental import IncrementalDecoder


@torch.inference_mode()
def beam_search(
    model: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    beams: int = 4,
    length_penalty: float = 0.6,
    eot: int | None = None,
    stop: Stop | None = None,
) -> list[int]:
    """Return the best of the continuations that a beam of so many finds; `eot` is left out.

    A continuation's score is its log-probability over ((5 + length) / 6) ** length_penalty (Wu et al. 2016,
    section 7; GPT-3 answers with 4 beams and 0.6, Brown et al. 2020, section 2.4). Its length counts `eot`,
    when it ends with that. The search ends when nothing unfinished can become better than the best.

    Raises ValueError when the prompt is empty, or a setting is out of range.
    """
    if beams < 1:
        raise ValueError(f"beams is {beams}: at least 1")
    if not length_penalty >= 0:
        raise ValueError(f"length_penalty is {length_penalty}: 0 for none, or a number above")

    def score(log_probability: float, length: int) -> float:
        return log_probability / float(((5 + length) / 6) ** length_penalty)

    decoder = IncrementalDecoder(model, [prompt])
    best: tuple[float, list[int]] = (-float("inf"), [])
    live: list[tuple[float, list[int]]] = [(0.0, [])]  # log-probability and tokens, the likeliest first
    for length in range(1, max_new_tokens + 1):
        steps = decoder.logits().log_softmax(-1).cpu()
        totals = (steps + torch.tensor([[total] for total, _ in live])).flatten()
        # Each beam has one way to end by eot: among the best 2 * beams there are enough that go on.
        chosen = totals.topk(min(2 * beams, totals.numel()))
        parents: list[int] = []
        going: list[tuple[float, list[int]]] = []
        for total, place in zip(chosen.values.tolist(), chosen.indices.tolist(), strict=True):
            parent, token = divmod(place, steps.size(1))
            tokens = live[parent][1] if token == eot else [*live[parent][1], token]
            if token == eot or length == max_new_tokens or (stop is not None and stop(tokens)):
                best = max(best, (score(total, length), tokens), key=lambda found: found[0])
            elif len(going) < beams:
                parents.append(parent)
                going.append((total, tokens))
        live = going
        # A log-probability only falls, and the divisor is largest at full length.
        if not live or score(live[0][0], max_new_tokens) <= best[0]:
            break
        decoder.select(parents)
        decoder.append([tokens[-1] for _, tokens in live])
    return best[1]
