"""Questions about a text are asked as in GPT-3's appendix G, and judged by each set's own rule."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.eval.engines.reading import SETS
from support.evaluation import example, measured, run
from support.oracles import Writer

HISTORY = [{"question": "q1?", "answer": "a1"}, {"question": "q2?", "answer": ""}]
NO_DATE = {"day": "", "month": "", "year": ""}
ROWS: dict[str, dict[str, Any]] = {
    "coqa": {"story": "A tale.", "history": HISTORY[:1], "question": "q2?", "answers": ["a barn", "barn"]},
    "quac": {
        "title": "Perry",
        "section": "Career",
        "context": "He ran.",
        "history": HISTORY[:1],
        "question": "q2?",
        "answer": "he ran",
        "answers": ["he ran", "ran"],
    },
    "squad2": {
        "title": "Blitz",
        "context": "It flew.",
        "history": HISTORY,
        "question": "q3?",
        "answers": {"text": ["4,000", "4"]},
    },
    "drop": {
        "passage": "He kicked.",
        "question": "How many?",
        "answer": {"number": "", "date": NO_DATE, "spans": ["cats", "dogs"]},
        "validated_answers": {"number": ["2"], "date": [NO_DATE], "spans": [[]]},
    },
}
PROMPTS = {
    "coqa": "A tale.\n\nQ: q1?\n\nA: a1\n\nQ: q2?\n\nA:",
    "quac": "TITLE: Perry - Career\nPARAGRAPH: He ran.\n\nQ: q1?\n\nA: a1\n\nQ: q2?\n\nA:",
    "squad2": (
        "Title: Blitz\n\nBackground: It flew.\n\nQ: q1?\n\nA: a1\n\nQ: q2?\n\nA: unanswerable\n\nQ: q3?\n\nA:"
    ),
    "drop": "Passage: He kicked.\nQuestion: How many?\nAnswer:",
}
SOLVED = {"coqa": " a barn", "quac": " he ran", "squad2": " 4,000", "drop": " cats, dogs"}


def protocols(task: str) -> list[str]:
    return ["gpt2", "gpt3"] if task == "coqa" else ["paper"]


def asks(task: str, model: Writer, *rows: dict[str, Any], shots: int = 0) -> list[Any]:
    examples = [example(row, str(n)) for n, row in enumerate(rows)]
    training = [example(ROWS[task], f"t{n}", "train") for n in range(3)]
    return run(task, protocols(task)[-1], model, examples, training, shots)


@pytest.mark.parametrize("task", SETS)
def test_a_question_stands_as_in_the_paper_after_solved_ones(task: str) -> None:
    model = Writer()
    asks(task, model, ROWS[task], shots=1)
    ((prompt, writing),) = model.asked
    assert prompt == f"{PROMPTS[task]}{SOLVED[task]}\n\n{PROMPTS[task]}"
    assert (writing.beams, writing.length_penalty, writing.stops) == (4, 0.6, ("\n",))


def test_gpt2_reads_coqa_greedily() -> None:
    run("coqa", "gpt2", model := Writer(), [example(ROWS["coqa"])])
    assert [(prompt, writing.beams) for prompt, writing in model.asked] == [(PROMPTS["coqa"], 1)]


@pytest.mark.parametrize("task", SETS)
def test_what_is_asked_does_not_depend_on_what_was_written(task: str) -> None:
    notes, writes = Writer(), Writer(lambda prompt: " something else\nQ: more")
    for model in (notes, writes):
        asks(task, model, ROWS[task], ROWS[task], shots=2)
    assert notes.asked == writes.asked


@pytest.mark.parametrize(
    ("task", "written", "row", "expected"),
    [
        ("coqa", " A barn", {}, {"f1": [1, 1]}),
        ("coqa", "house", {}, {"f1": [0, 1]}),
        ("coqa", "", {}, {"f1": [0, 1]}),
        ("quac", "he ran", {}, {"f1": [(1 + 2 / 3) / 2, 1]}),
        ("quac", "CANNOTANSWER", {"answers": ["CANNOTANSWER", "x"]}, {"f1": [1, 1]}),
        ("quac", "he ran", {"answers": ["he ran", "dogs"]}, {"f1": [0, 0]}),
        ("squad2", "4,000", {}, {"f1": [1, 1], "em": [1, 1]}),
        ("squad2", "4 000", {}, {"f1": [2 / 3, 1], "em": [0, 1]}),
        ("squad2", "Unanswerable.", {"answers": {"text": []}}, {"f1": [1, 1], "em": [1, 1]}),
        ("squad2", "4,000", {"answers": {"text": []}}, {"f1": [0, 1], "em": [0, 1]}),
        ("squad2", "unanswerable", {}, {"f1": [0, 1], "em": [0, 1]}),
        ("drop", "2.0", {}, {"f1": [1, 1], "em": [1, 1]}),
        ("drop", "the cats", {}, {"f1": [0.5, 1], "em": [0, 1]}),
    ],
)
def test_an_answer_is_judged_by_the_set_s_rule(
    task: str, written: str, row: dict[str, Any], expected: dict[str, list[float]]
) -> None:
    (document,) = asks(task, Writer(lambda prompt: written), {**ROWS[task], **row})
    assert document.values == {name: pytest.approx(numbers) for name, numbers in expected.items()}


def test_a_question_that_quac_leaves_out_does_not_count() -> None:
    documents = asks(
        "quac",
        Writer(lambda prompt: "he ran"),
        {**ROWS["quac"], "answers": ["he ran"]},
        {**ROWS["quac"], "answers": ["he ran", "dogs"]},
    )
    assert measured(documents, "f1") == 1
