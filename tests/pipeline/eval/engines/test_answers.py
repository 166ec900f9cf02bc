"""Closed-book questions are asked as in GPT-3's appendix G, and any of the answers is right."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.eval.requests import Writing
from support.evaluation import example, measured, run
from support.oracles import Writer

NATURAL = [
    example({"question": "who sang it", "answer": ["The Beatles", "Beatles"]}, "0"),
    example({"question": "how many were there?", "answer": ["four"]}, "1"),
]
TRAINING = [example({"question": f"what is {n}", "answer": [f"n{n}", "x"]}, f"t{n}") for n in range(9)]


def trivia(**answer: list[str]) -> dict[str, Any]:
    return {
        "question": "Whose is it?",
        "answer": {"value": "Bob", "aliases": [], "normalized_aliases": [], "human_answers": [], **answer},
    }


def test_a_question_stands_as_in_the_paper_and_beams_end_with_the_line() -> None:
    model = Writer()
    run("natural_questions", "gpt3", model, NATURAL, TRAINING, 2)
    prompt, writing = model.asked[0]
    *shown, question = prompt.split("\n\nQ: ")
    assert len(shown) == 2
    for n, each in enumerate(shown):
        number = each[each.index("is ") + 3]
        assert each.removeprefix("Q: ") == f"What is {number}?\n\nA: n{number}", n
    drawn = [each[-1] for each in shown]
    assert drawn == ["1", "6"], "a score can be measured again only with the same draw in the same order"
    assert question == "Who sang it?\n\nA:"
    assert writing == Writing(max_tokens=64, stops=("\n",), beams=4, length_penalty=0.6)
    run("natural_questions", "gpt2", greedy := Writer(), NATURAL)
    assert [(each[0], each[1].beams) for each in greedy.asked] == [
        ("Q: Who sang it?\n\nA:", 1),
        ("Q: How many were there?\n\nA:", 1),
    ]


def test_any_answer_is_right_once_it_is_normalised_and_nothing_else_is() -> None:
    def knows(prompt: str) -> str:
        return " beatles.\nQ: Who" if "sang" in prompt else " There were four."

    documents = run("natural_questions", "gpt3", Writer(knows), NATURAL)
    assert [each.values["em"] for each in documents] == [[1, 1], [0, 1]]
    assert measured(documents, "em") == 0.5
    assert documents[0].sample["answer"] == "beatles."


@pytest.mark.parametrize(
    ("written", "answer", "right"),
    [
        ("Campbell Bannerman", {"aliases": ["Campbell-Bannerman"]}, 1),
        ("the sunset blvd", {"aliases": ["Sunset Boulevard"], "normalized_aliases": ["sunset blvd"]}, 1),
        ("Rob", {"aliases": ["Robert"], "human_answers": ["rob!"]}, 1),
        ("Bob R", {}, 0),
        ("Bob", {}, 1),
        ("", {}, 0),
        ("", {"aliases": ["+-*/"]}, 0),  # which normalises to nothing
        ("+-*/", {"aliases": ["+-*/"]}, 1),
    ],
)
def test_trivia_has_aliases_and_human_answers(
    written: str, answer: dict[str, list[str]], right: float
) -> None:
    (document,) = run("triviaqa", "paper", Writer(lambda prompt: written), [example(trivia(**answer))])
    assert document.values["em"] == [right, 1]


def test_web_questions_have_a_list_of_answers() -> None:
    row = {"question": "who is x?", "url": "", "answers": ["A", "B"]}
    (document,) = run("webquestions", "paper", Writer(lambda prompt: "b"), [example(row)])
    assert document.values["em"] == [1, 1]


def test_solved_questions_that_do_not_fit_are_left_out() -> None:
    documents = run("natural_questions", "gpt3", model := Writer(n_ctx=64 + 5 + 2 * 6), NATURAL, TRAINING, 9)
    assert [each.shown for each in documents] == [2, 1]
    assert all(model.count(prompt) + 64 <= model.n_ctx for prompt, _ in model.asked)
