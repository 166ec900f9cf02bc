"""Text from a trained model, with the tokenizer that it learned with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprep.tokenizer.tokenizer import Tokenizer
from model.beam import beam_search
from model.generate import Sampling, generate
from pipeline.checkpoint.weights import Weights, open_weights
from pipeline.errors import RunError, UsageError


@dataclass(frozen=True)
class Beam:
    """Search for the likeliest text instead of drawing one."""

    width: int
    length_penalty: float


def generate_texts(
    where: Path, prompts: Sequence[str], max_tokens: int, how: Sampling | Beam, *, stops: Sequence[str] = ()
) -> dict[str, Any]:
    """Continue prompts, all at once; an empty one begins a document. A text ends before a stop string.

    Returns {"step", "texts": [{"prompt", "text", "tokens"}]}; the step is null for a model of Hugging Face's
    format. Raises RunError when there is no whole model or no tokenizer, UsageError for numbers that make no
    sense.
    """
    weights = open_weights(where)
    if weights.tokenizer is None:
        raise RunError(f"{where}: has no tokenizer: copy the directory `tokenizer` of its tokens there")
    if not all(stops):
        raise UsageError("--stop: an empty string would end every text before it begins")
    try:
        found = _continue(
            weights, weights.tokenizer, prompts, max_tokens, how, _Stop(weights.tokenizer, stops)
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    texts = [
        {"prompt": prompt, "text": _cut(weights.tokenizer.decode(tokens), stops), "tokens": len(tokens)}
        for prompt, tokens in zip(prompts, found, strict=True)
    ]
    return {"step": weights.step, "texts": texts}


def _continue(
    weights: Weights,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_tokens: int,
    how: Sampling | Beam,
    stop: _Stop,
) -> list[list[int]]:
    ids = [tokenizer.encode(prompt) or [tokenizer.eot] for prompt in prompts]
    model = weights.model()
    if isinstance(how, Sampling):
        return generate(model, ids, max_tokens, how, eot=tokenizer.eot, stop=stop)
    return [
        beam_search(
            model,
            prompt,
            max_tokens,
            beams=how.width,
            length_penalty=how.length_penalty,
            eot=tokenizer.eot,
            stop=stop,
        )
        for prompt in ids
    ]


@dataclass(frozen=True)
class _Stop:
    """Whether new tokens spell a stop string with their last one."""

    tokenizer: Tokenizer
    strings: Sequence[str]

    def __call__(self, new: Sequence[int]) -> bool:
        if not self.strings:
            return False
        # A token is a byte at least: what it completes lies in so many of the last tokens.
        longest = max(len(string.encode()) for string in self.strings)
        text = self.tokenizer.decode(new[-longest:])
        return any(string in text for string in self.strings)


def _cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop string.

    >>> _cut("one. two; three", [";", "."])
    'one'
    """
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]
