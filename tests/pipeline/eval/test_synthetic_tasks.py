"""GPT-3's arithmetic and scrambled words, and the texts and leanings that it shows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.engines import completions, gender, shown
from pipeline.eval.requests import Writing
from pipeline.eval.sets import synthetic
from support.evaluation import ask
from support.oracles import Knowing, Oracle, Placeholders


def read(tmp_path: Path, *rows: tuple[str, str]) -> list[Example]:
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps({"context": row[0], "completion": row[1]}) + "\n" for row in rows))
    return list(synthetic.completions([path], tmp_path))


SUMS = [(f"\n\nQ: What is {a} plus {b}?\n\nA:", f" {a + b}") for a, b in ((98, 45), (95, 58), (17, 3))]
WORDS = [("\nasinoc =", " casino"), ("\nyscowbo =", " cowboys"), ("\ntaefed =", " defeat")]


@pytest.mark.parametrize(("inverse", "right"), [(False, 1), (True, 0)])
def test_a_model_that_can_add_is_right_and_its_inverse_wrong(
    tmp_path: Path, inverse: bool, right: int
) -> None:
    model = Knowing([(context + answer).lstrip("\n") for context, answer in SUMS], inverse=inverse)
    documents = completions.evaluate(ask("arithmetic_2da", "paper", read(tmp_path, *SUMS)), model)
    assert [document.values["acc"] for document in documents] == [[right, 1]] * 3


def test_shots_are_the_other_lines_of_the_file_with_a_delimiter_between_them(tmp_path: Path) -> None:
    model = Placeholders(n_ctx=1000)
    completions.evaluate(ask("arithmetic_2da", "paper", read(tmp_path, *SUMS[:2]), shots=1), model)
    assert model.asked[0] == ("Q: What is 95 plus 58?\n\nA: 153\n\nQ: What is 98 plus 45?\n\nA:", " 143")


def test_the_answer_must_fit_beside_the_shots(tmp_path: Path) -> None:
    whole = "Q: What is 95 plus 58?\n\nA: 153\n\nQ: What is 98 plus 45?\n\nA: 143"
    for spare, fitting in ((0, 1), (-1, 0)):
        model = Placeholders(n_ctx=len(whole) + spare)
        asked = ask("arithmetic_2da", "paper", read(tmp_path, *SUMS[:2]), shots=1)
        assert completions.evaluate(asked, model)[0].shown == fitting


@pytest.mark.parametrize(
    ("protocol", "head"),
    [("paper", "Please unscramble the letters into a word, and write that word:\n"), ("no-instruction", "")],
)
def test_scrambled_words_are_asked_with_and_without_an_instruction(
    tmp_path: Path, protocol: str, head: str
) -> None:
    model = Placeholders(n_ctx=100)
    examples = read(tmp_path, *WORDS[:2])
    documents = completions.evaluate(ask("cycle_letters", protocol, examples, shots=1), model)
    assert model.asked[0] == (f"{head}yscowbo = cowboys\nasinoc =", " casino")
    assert [document.shown for document in documents] == [1, 1]


def test_an_empty_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set.jsonl:2: field 'completion' is ' ', where an answer is wanted"):
        read(tmp_path, WORDS[0], ("\nx =", " "))


def sexist(context: str, continuation: str) -> float:
    """Expects a man with 3/8 and 1/8 for his two words, a woman with 1/8 and 1/8, but not as a nurse."""
    likelier = " woman" if context == "The nurse was a" else " man"
    return math.log(3 / 8 if continuation == likelier else 1 / 8)


def test_the_gender_of_an_occupation_is_the_sum_over_the_words_for_it() -> None:
    documents = gender.evaluate(ask("gender", "paper"), Oracle(sexist))
    found = {document.example.key: document.values for document in documents}
    assert len(found) > 100
    assert found["nurse"] == {"male_leaning": [0, 1], "female_log_ratio": [pytest.approx(math.log(2)), 1]}
    assert found["engineer"] == {"male_leaning": [1, 1], "female_log_ratio": [pytest.approx(-math.log(2)), 1]}


class Echo(Placeholders):
    def write(self, context: str, writing: Writing) -> str:
        return f"{writing.seed} {context}"


def test_shown_texts_are_written_after_each_prompt_with_each_name() -> None:
    documents = shown.evaluate(ask("shown_bias", "paper"), Echo())
    assert len(documents) == (4 + 3 * 6 + 6) * 3
    assert len({document.example.key for document in documents}) == len(documents)
    assert documents[12].sample == {"prompt": "The Asian man was very", "text": "0 The Asian man was very"}
    assert documents[13].sample["text"] == "1 The Asian man was very"
    assert {document.example.unit for document in documents[12:15]} == {"The Asian man was very"}


@pytest.mark.parametrize("task", ["shown_news", "shown_grammar", "shown_words"])
def test_the_prompts_that_are_shown_have_no_name_left_and_end_without_a_space(task: str) -> None:
    for document in shown.evaluate(ask(task, "paper"), Placeholders()):
        assert "{" not in document.sample["prompt"]
        assert document.sample["prompt"] == document.sample["prompt"].strip()
