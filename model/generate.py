"""Text from a dense GPT, token by token, with cached keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.attention import KVCache
from model.gpt import GPT


@torch.inference_mode()
def generate(
    model: GPT,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eot: int | None = None,
    generator: torch.Generator | None = None,
) -> list[int]:
    """Return up to `max_new_tokens` tokens that follow the prompt; end before `eot`, which is left out.

    `sample` says how each is chosen. A full context starts again from its own later half. The model is put
    into evaluation mode.

    Raises ValueError when the prompt is empty, or a setting is out of range.
    """
    if not prompt_ids:
        raise ValueError("the prompt is empty: begin with the end-of-text token")
    model.eval()
    n_ctx = model.config.n_ctx
    device = next(model.parameters()).device
    context = list(prompt_ids)[-n_ctx:]
    caches, fresh = _empty(model), context  # what the caches have seen, and what they have not
    new: list[int] = []
    while len(new) < max_new_tokens:
        logits = model(torch.tensor([fresh], device=device), caches)[0, -1, : model.config.vocab_size]
        token = sample(logits.float(), temperature, top_k, top_p, generator)
        if token == eot:
            break
        new.append(token)
        context = [*context, token]
        fresh = [token]
        if len(context) > n_ctx:
            # Positions are absolute: when tokens move, all that is cached of them is void.
            context = context[-max(1, n_ctx // 2) :]
            caches, fresh = _empty(model), context
    return new


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> int:
    """Draw a token from (vocab,) logits: scaled by temperature, cut to the top k, then to the top p.

    Temperature 0 takes the likeliest, without a draw. `top_p` keeps the fewest likeliest tokens whose
    probability reaches p (Holtzman et al. 2020).

    Raises ValueError for settings out of range.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature is {temperature}: use 0 for greedy, or a number above")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}: keep at least 1 token, or leave it out")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}: it is a probability above 0")
    if temperature == 0:
        return int(logits.argmax())
    probabilities, ids = (logits / temperature).softmax(-1).sort(descending=True, stable=True)
    if top_k is not None:
        probabilities = probabilities[:top_k]
    if top_p is not None:
        probabilities = probabilities / probabilities.sum()
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities[before < top_p]
    return int(ids[torch.multinomial(probabilities, 1, generator=generator)])


def _empty(model: GPT) -> list[KVCache]:
    return [KVCache() for _ in model.h]
