"""Reading comprehension: CoQA, QuAC, SQuAD 2 and DROP.

The prompts are those of GPT-3's appendix G (Brown et al. 2020): figures G.18 (CoQA), G.25 (QuAC), G.28
(SQuAD 2) and G.20 (DROP). Questions before it about the same text stand in the prompt with their right
answers, so what is asked does not depend on what a model wrote. 4 beams with length penalty 0.6
(section 2.4). GPT-2 (Radford et al. 2019, section 3.5) reads CoQA with a text, its conversation and a last
"A:", and writes greedily. The papers do not print what answers a question without an answer: here it is
"CANNOTANSWER" in QuAC as in its files, "unanswerable" in SQuAD 2 as in lm-eval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pipeline.eval import text_metrics
from pipeline.eval.documents import Asked, Document
from pipeline.eval.few_shot import Render, Row, written
from pipeline.eval.language_model import LanguageModel
from pipeline.inference.conditioning import asked as asked_form

NO_ANSWER = "unanswerable"
"""What a solved example of SQuAD 2 shows where there is no answer."""

Spans = list[str]


class Set(NamedTuple):
    """How a set is asked and judged.

    question: the prompt. shown: the answer of a solved example. right: all answers that are right.
    judge: from what was written and them, the numbers of each measure.
    """

    question: Render
    shown: Render
    right: Callable[[Row], list[Any]]
    judge: Callable[[str, list[Any]], dict[str, list[float]]]


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Ask the questions of a set (setting `set`, a name in SETS)."""
    about = SETS[asked.protocol.settings["set"]]
    documents = []
    for each in written(asked, model, about.question, about.shown):
        right = about.right(each.example.row)
        documents.append(each.document(right, **about.judge(each.text, right)))
    return documents


def _conversation(row: Row) -> str:
    before = "".join(
        f"{asked_form(each['question'])} {each['answer'] or NO_ANSWER}\n\n" for each in row["history"]
    )
    return before + asked_form(row["question"])


def _quac(written: str, right: list[str]) -> dict[str, list[float]]:
    score = text_metrics.quac(written, right)
    return {"f1": [0.0, 0.0] if score is None else [score, 1.0]}


def _squad2(written: str, right: list[str]) -> dict[str, list[float]]:
    answered = "" if text_metrics.exact(written, NO_ANSWER) else written
    return _em_and_f1(*text_metrics.squad2(answered, right))


def _em_and_f1(em: float, f1: float) -> dict[str, list[float]]:
    return {"f1": [f1, 1.0], "em": [em, 1.0]}


def _drop_answers(row: Row) -> list[Spans]:
    """The answer and those of the validators, which come as a list a field."""
    validated = row["validated_answers"]
    others = zip(validated["number"], validated["spans"], validated["date"], strict=True)
    own = row["answer"]
    return [_spans(*each) for each in [(own["number"], own["spans"], own["date"]), *others]]


def _spans(number: str, spans: Sequence[str], date: dict[str, str]) -> Spans:
    dates = " ".join(part for part in (date["day"], date["month"], date["year"]) if part)
    return [number] if number else list(spans) or [dates]


SETS = {
    "coqa": Set(
        question=lambda row: f"{row['story']}\n\n{_conversation(row)}",
        shown=lambda row: str(row["answers"][0]),
        right=lambda row: list(row["answers"]),
        judge=lambda written, right: {"f1": [text_metrics.coqa(written, right), 1.0]},
    ),
    "quac": Set(
        question=lambda row: (
            f"TITLE: {row['title']} - {row['section']}\nPARAGRAPH: {row['context']}\n\n{_conversation(row)}"
        ),
        shown=lambda row: str(row["answer"]),
        right=lambda row: list(row["answers"]),
        judge=_quac,
    ),
    "squad2": Set(
        question=lambda row: f"Title: {row['title']}\n\nBackground: {row['context']}\n\n{_conversation(row)}",
        shown=lambda row: str((row["answers"]["text"] or [NO_ANSWER])[0]),
        right=lambda row: list(row["answers"]["text"]),
        judge=_squad2,
    ),
    "drop": Set(
        question=lambda row: f"Passage: {row['passage']}\nQuestion: {row['question']}\nAnswer:",
        shown=lambda row: ", ".join(_drop_answers(row)[0]),
        right=_drop_answers,
        judge=lambda written, right: _em_and_f1(*text_metrics.drop(written, right)),
    ),
}
"""By name."""
