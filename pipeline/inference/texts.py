"""Texts after many prompts: a plain stand-in that writes one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from dataprep.tokenizer.tokenizer import Tokenizer
from model import GPT
from model.beam import beam_search
from model.generate import Sampling, generate
from pipeline.inference.generate import _cut, _Stop


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
    """Write a text after each prompt, which ends before the first of the stops."""
    stop, texts = _Stop(tokenizer, stops), []
    sampling = Sampling(temperature=1.0 if top_k else 0.0, top_k=top_k, seed=seed)
    for prompt in map(list, prompts):
        if beams > 1:
            tokens = beam_search(
                model,
                prompt,
                max_tokens,
                beams=beams,
                length_penalty=length_penalty,
                eot=tokenizer.eot,
                stop=stop,
            )
        else:
            (tokens,) = generate(model, [prompt], max_tokens, sampling, eot=tokenizer.eot, stop=stop)
        texts.append(_cut(tokenizer.decode(tokens), stops))
    return texts
