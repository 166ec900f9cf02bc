"""Closed-book questions: TriviaQA, NaturalQuestions, WebQuestions.

GPT-3 (Brown et al. 2020): "Q: ...", an empty line and "A:" (figures G.24, G.34, G.35) after K solved
questions; 4 beams with length penalty 0.6 (section 2.4). Right is what equals one of the answers once both
are normalised. GPT-2 (Radford et al. 2019, section 3.8) has solved questions in its prompt, too; the paper
prints neither their number nor their form.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.eval.documents import Asked, Document
from pipeline.eval.few_shot import Row, written
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.text_metrics import Normalise, normalise, normalise_trivia
from pipeline.inference import conditioning


def _trivia(row: Row) -> list[str]:
    answer = row["answer"]
    return [answer["value"], *answer["aliases"], *answer["normalized_aliases"], *answer["human_answers"]]


SETS: dict[str, tuple[Callable[[Row], list[str]], Normalise]] = {
    "triviaqa": (_trivia, normalise_trivia),
    "natural_questions": (lambda row: list(row["answer"]), normalise),
    "webquestions": (lambda row: list(row["answers"]), normalise),
}
"""By name: all answers that are right, the one to show first; and how the set's script normalises."""


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Ask the questions of a set (setting `set`, a name in SETS)."""
    answers, normalise = SETS[asked.protocol.settings["set"]]
    documents = []
    for each in written(asked, model, _question, lambda row: answers(row)[0]):
        gold = answers(each.example.row)
        right = any(_same(each.text, answer, normalise) for answer in gold)
        documents.append(each.document(gold, em=[float(right), 1.0]))
    return documents


def _same(written: str, answer: str, normalise: Normalise) -> bool:
    """An answer that normalises to nothing must be written to the letter, else silence were right: 4 of the
    3,610 NaturalQuestions have such ones ("A+", "*")."""
    normal = normalise(answer)
    return normalise(written) == normal if normal else written == answer.strip()


def _question(row: Row) -> str:
    """The figures show a capital and a question mark, which the sets' own questions may lack."""
    return conditioning.asked(conditioning.question(row["question"]))
