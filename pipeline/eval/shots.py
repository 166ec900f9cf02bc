"""Solved examples before a question: which ones, and how many fit into the context."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence

import xxhash

from pipeline.eval.documents import Asked, Example
from pipeline.eval.language_model import LanguageModel


def draw(asked: Asked, example: Example | None) -> list[Example]:
    """Draw `asked.shots` examples from the training ones, without the example itself.

    The draw depends only on the seed, the task and the example: not on other questions, nor on processes.
    Without an example, all questions of the task have the same draw (WSC and MultiRC in GPT-3, Brown et al.
    2020, section 3.7).
    """
    words = [str(asked.seed), asked.task.name, example.key if example else ""]
    generator = random.Random(xxhash.xxh3_64_intdigest("\0".join(words).encode()))
    own = (example.file, example.line, example.key) if example else None
    # One more than is wanted, in case the example itself is drawn.
    drawn = generator.sample(range(len(asked.training)), min(asked.shots + 1, len(asked.training)))
    found = [asked.training[n] for n in drawn]
    return [other for other in found if (other.file, other.line, other.key) != own][: asked.shots]


def fit(
    model: LanguageModel,
    shown: Sequence[str],
    question: str,
    room: int,
    *,
    instruction: str = "",
    delimiter: str = "\n\n",
) -> tuple[str, int]:
    """A context of an instruction, solved examples and a question that leaves `room` tokens free.

    Whole examples are left out from the front until it fits. Returns the context and how many stayed.
    """

    def context(first: int) -> str:
        return delimiter.join([*([instruction] if instruction else []), *shown[first:], question])

    def fits(first: int) -> bool:
        return model.count(context(first)) + room <= model.n_ctx

    first = 0 if fits(0) else bisect_left(range(len(shown)), True, key=fits)
    return context(first), len(shown) - first
