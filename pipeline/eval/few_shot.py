"""A question after solved examples, and the text that a model writes in answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.requests import Writing
from pipeline.eval.shots import draw
from pipeline.inference.fitting import fit

Row = dict[str, Any]
Render = Callable[[Row], str]


@dataclass(frozen=True)
class Written:
    """The text that a model wrote for an example. shown: number of solved examples in the prompt."""

    example: Example
    prompt: str
    text: str
    shown: int

    def document(self, gold: Any, **values: Sequence[float]) -> Document:
        """The document of the example, with prompt, answer and gold."""
        sample = {"prompt": self.prompt, "answer": self.text, "gold": gold}
        return Document(example=self.example, values=values, shown=self.shown, sample=sample)


def written(
    asked: Asked, model: LanguageModel, question: Render, answer: Render, delimiter: str = "\n\n"
) -> Iterator[Written]:
    """Ask each example after solved ones, which are question, space and answer. A written text is one line.

    Settings of the protocol: beams, length_penalty and max_tokens, as in `Writing`.
    """
    settings = asked.protocol.settings
    writing = Writing(
        max_tokens=settings.get("max_tokens", 64),
        stops=("\n",),
        beams=settings["beams"],
        length_penalty=settings.get("length_penalty", 0.6),
    )
    for example in asked.examples:
        shown = [f"{question(shot.row)} {answer(shot.row)}" for shot in draw(asked, example)]
        prompt, fitted = fit(model, shown, question(example.row), writing.max_tokens, delimiter=delimiter)
        yield Written(example, prompt, model.write(prompt, writing).strip(), fitted)
