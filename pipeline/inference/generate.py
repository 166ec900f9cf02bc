"""Text from a trained model, with the tokenizer that it learned with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.beam import Beam
from model.generate import Sampling
from model.layout import for_decoding
from model.write import write
from pipeline.checkpoint.described import required
from pipeline.checkpoint.weights import open_weights
from pipeline.inference.texts import Stops


def generate_texts(
    where: Path, prompts: Sequence[str], max_tokens: int, how: Sampling | Beam, *, stops: Sequence[str] = ()
) -> dict[str, Any]:
    """Continue prompts, many at once; an empty one begins a document. A text ends before a stop string.

    Returns {"step", "texts": [{"prompt", "text", "tokens"}]}; the step is null for a model of Hugging Face's
    format. Raises RunError when there is no whole model or no tokenizer, UsageError for an empty stop string.
    """
    weights = open_weights(where)
    tokenizer = required(weights.tokenizer, where)
    stop = Stops(tokenizer, stops)
    model = weights.model()
    if len(prompts) * (how.width if isinstance(how, Beam) else 1) > 2:
        model = for_decoding(model)
    ids = [tokenizer.encode(prompt) or [tokenizer.eot] for prompt in prompts]
    found = write(model, ids, max_tokens, how, eot=tokenizer.eot, stop=stop)
    texts = [
        {"prompt": prompt, "text": stop.cut(tokenizer.decode(tokens)), "tokens": len(tokens)}
        for prompt, tokens in zip(prompts, found, strict=True)
    ]
    return {"step": weights.step, "texts": texts}
