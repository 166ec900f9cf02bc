"""GPT-3's arithmetic and word scrambling (Brown et al. 2020, section 3.9): the exact answer is greedy."""

from __future__ import annotations

from pipeline.eval import shots
from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.inference.fitting import fit


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Values: acc. Settings: `instruction` before all ("" by default), `delimiter` between examples."""
    return [_document(asked, example, model) for example in asked.examples]


def _document(asked: Asked, example: Example, model: LanguageModel) -> Document:
    settings = asked.protocol.settings
    completion = example.row["completion"]
    # The newlines that begin a context in the files are the delimiter.
    shown = [each.row["context"].lstrip("\n") + each.row["completion"] for each in shots.draw(asked, example)]
    prompt, fitted = fit(
        model,
        shown,
        example.row["context"].lstrip("\n"),
        model.count(completion),
        instruction=settings.get("instruction", ""),
        delimiter=settings["delimiter"],
    )
    right = model.score(prompt, completion).is_greedy
    return Document(
        example=example,
        values={"acc": [float(right), 1]},
        shown=fitted,
        sample={"prompt": prompt, "gold": completion},
    )
