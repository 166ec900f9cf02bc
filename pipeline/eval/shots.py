"""Solved examples before a question: which ones."""

from __future__ import annotations

import random

import xxhash

from pipeline.eval.documents import Asked, Example


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
