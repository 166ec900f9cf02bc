"""Text from a trained model, with the tokenizer that it learned with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from model import GPT
from model.continuation import Continuation
from model.layout import for_decoding
from model.write import write
from pipeline.checkpoint.described import required
from pipeline.checkpoint.weights import open_weights
from pipeline.inference.conditioning import Task
from pipeline.inference.settings import Settings
from pipeline.inference.texts import Stops


def generate_texts(
    where: Path, prompts: Sequence[str], settings: Settings, task: Task | None = None
) -> dict[str, Any]:
    """Continue prompts with the model that lies there, as `Writer` does: {"step", "texts"}."""
    writer = Writer(where)
    return {"step": writer.step, "texts": writer.write(prompts, settings, task)}


class Writer:
    """A trained model that continues texts: on the first GPU in bf16, else on the CPU in fp32.

    Raises RunError when there is no whole model or no tokenizer.
    """

    def __init__(self, where: Path) -> None:
        weights = open_weights(where)
        self.tokenizer = required(weights.tokenizer, where)
        self.step = weights.step
        """Step of the run's checkpoint; None for a model of Hugging Face's format."""
        self.n_ctx = weights.config.n_ctx
        self._model = weights.model()
        if torch.cuda.is_available():
            self._model.to("cuda", torch.bfloat16)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer.encode(text))

    def begin(self, prompt: str, seed: int) -> Continuation:
        """Begin a text that is drawn token by token."""
        return Continuation(self._model, self._encode(prompt), seed)

    def write(
        self,
        prompts: Sequence[str],
        settings: Settings,
        task: Task | None = None,
        *,
        first: int = 0,
        ended: Callable[[], bool] = lambda: False,
    ) -> list[dict[str, Any]]:
        """Continue prompts, all at once: {"prompt", "text", "tokens"} each.

        An empty prompt begins a document. A text ends before a stop string, and where `ended` becomes true.
        `first` is the number of the first text, to whose seed it is added. With a task, each prompt is put in
        its form, and the text is what counts of the answer.
        """
        room = settings.max_tokens
        whole = [task.prompt(self, prompt, room) if task else prompt for prompt in prompts]
        stops = Stops(self.tokenizer, (*settings.stops, *(task.stops if task else ())))
        found = write(
            self._for(len(prompts) * (settings.beams or 1)),
            [self._encode(prompt) for prompt in whole],
            settings.max_tokens,
            settings.how,
            seeds=[settings.seed + first + number for number in range(len(prompts))],
            eot=self.tokenizer.eot,
            stop=lambda new: ended() or stops(new),
        )
        texts = [stops.cut(self.tokenizer.decode(tokens)) for tokens in found]
        return [
            {"prompt": prompt, "text": task.cut(text) if task else text, "tokens": len(tokens)}
            for prompt, text, tokens in zip(prompts, texts, found, strict=True)
        ]

    def _encode(self, prompt: str) -> list[int]:
        return self.tokenizer.encode(prompt) or [self.tokenizer.eot]

    def _for(self, rows: int) -> GPT:
        return self._laid_out if rows > 2 else self._model

    @cached_property
    def _laid_out(self) -> GPT:
        return for_decoding(self._model)
