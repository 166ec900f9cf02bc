"""The Children's Book Test in GPT-2's way (Radford et al. 2019, section 3.2).

The probability of each candidate and of the rest of the sentence after it, given the context, is computed;
the likeliest candidate is the answer.
"""

from __future__ import annotations

from pipeline.eval.calibration import first_best, ties_and_calibration
from pipeline.eval.detokenise import CBT
from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.sets.cbt import BLANK


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Values: acc, ties, ece. There are no shots and no settings."""
    return [_document(example, model) for example in asked.examples]


def _document(example: Example, model: LanguageModel) -> Document:
    row = example.row
    sentences = [CBT.plain(sentence).text for sentence in row["sentences"]]
    before, _, after = CBT.plain(row["question"]).text.partition(BLANK)
    context = " ".join([*sentences, before])
    scores = [model.score(context, candidate + after).log_likelihood for candidate in row["candidates"]]
    chosen = row["candidates"][first_best(scores)]
    gold = {row["candidates"].index(row["answer"])}
    return Document(
        example=example,
        values={"acc": [float(chosen == row["answer"]), 1], **ties_and_calibration(scores, gold)},
        sample={"prompt": context, "answer": chosen, "gold": row["answer"]},
    )
