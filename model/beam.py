"""The likeliest continuation that a beam finds, for several prompts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from model.generate import Stop
from model.gpt import GPT
from model.incremental import IncrementalDecoder

_T = TypeVar("_T")


@dataclass(frozen=True)
class Beam:
    """Search for the likeliest text instead of drawing one. Raises ValueError for settings out of range.

    A text's score is its log-probability over ((5 + length) / 6) ** length_penalty (Wu et al. 2016, section
    7; GPT-3 answers with 4 beams and 0.6, Brown et al. 2020, section 2.4).
    """

    width: int = 4
    length_penalty: float = 0.6

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"beams is {self.width}: at least 1")
        if not self.length_penalty >= 0:
            raise ValueError(f"length_penalty is {self.length_penalty}: 0 for none, or a number above")

    def score(self, log_probability: float, length: int) -> float:
        """Score a text of so many tokens."""
        return log_probability / float(((5 + length) / 6) ** self.length_penalty)


@torch.inference_mode()
def beam_search(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    beam: Beam,
    *,
    eot: int | None = None,
    stop: Stop | None = None,
) -> list[list[int]]:
    """Return for each prompt the best of the continuations that a beam finds; `eot` is left out.

    The length of a continuation counts `eot`, when it ends with that. A search ends when nothing unfinished
    can become better than the best. The beams of all prompts are the rows of one batch, and each prompt finds
    what it would find alone.

    Raises ValueError when a prompt is empty.
    """
    decoder = IncrementalDecoder(model, prompts)
    searches = [_Search(beam, max_new_tokens, eot, stop) for _ in prompts]
    running = searches if max_new_tokens > 0 else []
    while running:
        logits = decoder.logits()
        # The best of all continuations are among the best of each beam.
        values, ids = logits.topk(min(2 * beam.width, logits.size(-1)))
        steps = (values - logits.logsumexp(-1, keepdim=True)).tolist()
        likeliest = [list(zip(*row, strict=True)) for row in zip(steps, ids.tolist(), strict=True)]
        start, rows = 0, []
        for search in running:
            end = start + len(search.live)
            rows += [start + parent for parent in search.step(likeliest[start:end])]
            start = end
        running = [search for search in running if search.live]
        if running:
            decoder.select(rows)
            decoder.append([tokens[-1] for search in running for _, tokens in search.live])
    return [search.best[1] for search in searches]


@dataclass
class _Search:
    """The beams of one prompt, and the best text that they have found."""

    beam: Beam
    longest: int
    eot: int | None
    stop: Stop | None
    live: list[tuple[float, list[int]]] = field(default_factory=lambda: [(0.0, [])])
    """Log-probability and tokens of each beam; none once the search has ended."""
    best: tuple[float, list[int]] = (-float("inf"), [])
    """Score and tokens."""

    def step(self, likeliest: Sequence[Sequence[tuple[float, int]]]) -> list[int]:
        """Continue by one token; return the beam that each new one continues.

        `likeliest` has log-probabilities and ids of each beam's likeliest next tokens.
        """
        found = [
            (total + step, parent, token)
            for parent, ((total, _), tokens) in enumerate(zip(self.live, likeliest, strict=True))
            for step, token in tokens
        ]
        found.sort(key=lambda each: -each[0])
        going: list[tuple[int, tuple[float, list[int]]]] = []
        # Each beam has one way to end by eot: among the best 2 * beams there are enough that go on.
        for total, parent, token in found[: 2 * self.beam.width]:
            before = self.live[parent][1]
            tokens = before if token == self.eot else [*before, token]
            length = len(before) + 1
            if token == self.eot or length == self.longest or (self.stop is not None and self.stop(tokens)):
                scored = self.beam.score(total, length), tokens
                self.best = max(self.best, scored, key=lambda each: each[0])
            elif len(going) < self.beam.width:
                going.append((parent, (total, tokens)))
        # A log-probability only falls, and the divisor is largest at full length.
        if not going or self.beam.score(going[0][1][0], self.longest) <= self.best[0]:
            going = []
        going = _in_place(going)
        self.live = [beam for _, beam in going]
        return [parent for parent, _ in going]


def _in_place(going: list[tuple[int, _T]]) -> list[tuple[int, _T]]:
    """Order beams so that the first one of each parent stands where its parent stood, if there is room.

    The decoder need not copy what stays in place.

    >>> _in_place([(2, "a"), (0, "b"), (2, "c")])
    [(0, 'b'), (2, 'c'), (2, 'a')]
    """
    heirs = {parent: beam for parent, beam in reversed(going) if parent < len(going)}
    others = iter([(parent, beam) for parent, beam in going if heirs.get(parent) is not beam])
    return [(place, heirs[place]) if place in heirs else next(others) for place in range(len(going))]
