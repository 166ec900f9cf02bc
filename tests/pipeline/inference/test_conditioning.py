"""Tasks in the form of GPT-2's paper."""

from __future__ import annotations

from pipeline.inference.conditioning import TASKS


class Words:
    """A model of so many words."""

    def __init__(self, n_ctx: int) -> None:
        self.n_ctx = n_ctx

    def count(self, text: str) -> int:
        return len(text.split())


def test_a_sentence_stands_after_pairs_and_the_first_that_is_written_is_its_translation() -> None:
    task = TASKS["translate-fr-en"]
    *pairs, last = task.prompt(Words(500), "Il  pleut\nfort.", 20).split("\n")
    assert len(pairs) == 5
    assert pairs[0] == "Le chat dort sur la chaise. = The cat sleeps on the chair."
    assert last == "Il pleut fort. ="
    assert task.cut(" It rains hard. It snows.") == "It rains hard."
    assert task.prompt(Words(30), "Il pleut.", 20) == "Il pleut. =", "pairs that do not fit are left out"
    assert (
        TASKS["translate-en-fr"]
        .prompt(Words(500), "It rains.", 20)
        .startswith("The cat sleeps on the chair. = Le chat")
    )


def test_a_summary_is_three_sentences_after_a_hint() -> None:
    task = TASKS["summarize"]
    assert task.prompt(Words(20), "One two. Three four.\n", 10) == "One two. Three four.\nTL;DR:"
    assert task.prompt(Words(14), "One two. Three four.", 10) == "One two.\nTL;DR:"
    assert task.cut(" A b. C d. E f. G h.") == "A b.\nC d.\nE f."
    assert (task.settings["top_k"], task.settings["max_tokens"]) == (2, 100)


def test_a_question_stands_after_answered_ones_or_after_its_text() -> None:
    task = TASKS["answer"]
    alone = task.prompt(Words(500), "who barks", 20)
    assert alone.startswith("Q: What is the capital of Italy?\n\nA: Rome\n\nQ: ")
    assert alone.endswith("\n\nQ: Who barks?\n\nA:")
    assert (
        task.prompt(Words(500), "The dogs bark.\nWho barks?\n", 20) == "The dogs bark.\n\nQ: Who barks?\n\nA:"
    )
    assert task.cut(" The dogs. ") == "The dogs."
    assert task.stops == ("\n",)
