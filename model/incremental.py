"""Contexts that grow token by token, several at once, with what attention has cached of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.attention import KVCache
from model.gpt import GPT


class IncrementalDecoder:
    """A batch of contexts, of different lengths; the model says for each what comes next.

    A prompt longer than the model's context keeps its end. A context that is full starts again from its own
    later half: positions are absolute, so that nothing cached of moved tokens holds.

    Raises ValueError for a prompt without tokens.
    """

    def __init__(self, model: GPT, prompts: Sequence[Sequence[int]]) -> None:
        if not all(prompts):
            raise ValueError("the prompt is empty: begin with the end-of-text token")
        self._model = model.eval()
        self._device = next(model.parameters()).device
        self._contexts = [list(prompt)[-model.config.n_ctx :] for prompt in prompts]
        self._caches: list[KVCache] = []
        self._logits = torch.empty(0)

    def logits(self) -> Tensor:
        """Logits (rows, vocab) float32 of every row's next token, without the vocabulary's padding.

        The next call writes into the same memory.
        """
        hidden = self._newest() if self._caches else self._from_the_start()
        # Not by `project`: its bias, which masks the padding, would be one more pass over the logits, and new
        # memory for them takes as long as the product where the model is small.
        head = self._model.head or self._model.wte
        weight: Tensor = head.get_parameter("weight")[: self._model.config.vocab_size]
        if self._logits.size(0) < hidden.size(0):
            self._logits = weight.new_empty(hidden.size(0), weight.size(0))
        return torch.mm(hidden[:, -1], weight.T, out=self._logits[: hidden.size(0)]).float()

    def append(self, tokens: Sequence[int]) -> None:
        """Add one token to each row."""
        for context, token in zip(self._contexts, tokens, strict=True):
            context.append(token)
        n_ctx = self._model.config.n_ctx
        if any(len(context) > n_ctx for context in self._contexts):
            self._contexts = [
                context[-max(1, n_ctx // 2) :] if len(context) > n_ctx else context
                for context in self._contexts
            ]
            self._caches = []

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may come several times."""
        self._contexts = [list(self._contexts[row]) for row in rows]
        for cache in self._caches:
            cache.select(rows)

    def _from_the_start(self) -> Tensor:
        """Hidden states (rows, 1, d_model) of the last tokens; the caches now hold the contexts."""
        lengths = [len(context) for context in self._contexts]
        self._caches = [KVCache(lengths) for _ in self._model.h]
        # Flush left and padded at the end: no real token looks forward to the padding.
        padded = [context + [0] * (max(lengths) - len(context)) for context in self._contexts]
        hidden = self._model.hidden(torch.tensor(padded, device=self._device), self._caches)
        last = torch.tensor(lengths, device=self._device) - 1
        return hidden[torch.arange(len(padded), device=self._device), last].unsqueeze(1)

    def _newest(self) -> Tensor:
        """Hidden states (rows, 1, d_model) of the tokens that were appended last."""
        tokens = torch.tensor([[context[-1]] for context in self._contexts], device=self._device)
        return self._model.hidden(tokens, self._caches)
