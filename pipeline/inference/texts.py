"""Texts after prompts in tokens. They end at stop strings, and do not depend on the prompts beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from dataprep.tokenizer.tokenizer import Tokenizer
from model.beam import Beam
from model.generate import Sampling
from model.gpt import GPT
from model.write import write
from pipeline.errors import UsageError


def write_texts(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    stops: Sequence[str] = (),
    beams: int = 1,
    length_penalty: float = 0.6,
    top_k: int | None = None,
    seed: int = 0,
) -> list[str]:
    """Write a text of at most `max_tokens` tokens after each prompt, in their order.

    A text ends before end-of-text and before the first stop string, which may begin inside a token. Each of
    its tokens is the likeliest. With beams > 1, the text is the best that they find. With top_k, a token is
    drawn from the k likeliest, by a generator that depends on the seed and on the prompt, not on its place.

    Raises ValueError for an empty prompt or a setting out of range, UsageError for an empty stop string.
    """
    if top_k is not None and beams != 1:
        raise ValueError(f"top_k is {top_k} and beams is {beams}: draw a text, or search one")
    how: Sampling | Beam = Sampling(temperature=0) if top_k is None else Sampling(top_k=top_k)
    if beams != 1:
        how = Beam(beams, length_penalty)
    stop = Stops(tokenizer, stops)
    seeds = [_seed(prompt, seed) for prompt in prompts]
    found = write(model, prompts, max_tokens, how, seeds=seeds, eot=tokenizer.eot, stop=stop)
    return [stop.cut(tokenizer.decode(tokens)) for tokens in found]


@dataclass(frozen=True)
class Stops:
    """Strings before which a text ends. Raises UsageError for an empty one."""

    tokenizer: Tokenizer
    strings: Sequence[str]

    def __post_init__(self) -> None:
        if not all(self.strings):
            raise UsageError("--stop: an empty string would end every text before it begins")

    def __call__(self, new: Sequence[int]) -> bool:
        """Whether new tokens spell a stop string with their last one."""
        if not self.strings:
            return False
        # A token is a byte at least: what it completes lies in so many of the last tokens.
        longest = max(len(string.encode()) for string in self.strings)
        text = self.tokenizer.decode(new[-longest:])
        return any(string in text for string in self.strings)

    def cut(self, text: str) -> str:
        """The text before the first stop string."""
        return text[: min((text.find(stop) for stop in self.strings if stop in text), default=len(text))]


def _seed(prompt: Sequence[int], seed: int) -> int:
    return xxhash.xxh3_64_intdigest(np.array([seed, *prompt], "<i8").tobytes())
