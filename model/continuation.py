"""One text that grows token by token, as somebody reads it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.generate import Sampling, sample
from model.gpt import GPT
from model.incremental import IncrementalDecoder


class Continuation:
    """A prompt, and what is drawn after it: with one sampling, the tokens of `generate`.

    Keys and values of what stands so far are kept, so a text that was let be goes on at once.

    Raises ValueError when the prompt is empty.
    """

    def __init__(self, model: GPT, prompt: Sequence[int], seed: int) -> None:
        self._decoder = IncrementalDecoder(model, [prompt])
        self._generator = torch.Generator().manual_seed(seed)

    @torch.inference_mode()
    def draw(self, sampling: Sampling) -> int:
        """Draw the next token, and add it."""
        (token,) = sample(self._decoder.logits(), sampling, [self._generator])
        self._decoder.append([token])
        return token
