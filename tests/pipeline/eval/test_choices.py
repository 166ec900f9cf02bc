"""Multiple-choice sets: read as published, and asked by either protocol of models whose answers are known."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.errors import DataError
from pipeline.eval import harness, lm_eval_files
from pipeline.eval.documents import Document, Example
from pipeline.eval.engines import choices
from pipeline.eval.measures import MEASURES
from pipeline.eval.tasks import shipped
from support.evaluation import asked, examples, measured, of, read
from support.oracles import Oracle
from support.published_choices import BESIDE, MORE, PUBLISHED, lines

TASKS = {
    name: task
    for name, task in shipped().items()
    if any(protocol.engine == "choices" for protocol in task.protocols.values())
}


def published(name: str, root: Path) -> list[Example]:
    """The examples of a set as published."""
    paths = []
    for path, content in [PUBLISHED[name][:2], *MORE.get(name, [])]:
        paths.append(root / path)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_text(content, encoding="utf-8")
    if name in BESIDE:
        (root / BESIDE[name][0]).write_text(BESIDE[name][1])
    return read(TASKS[name], root, paths)


def test_each_task_has_a_row_as_published() -> None:
    assert TASKS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", TASKS)
def test_a_published_row_has_the_fields_of_lm_evals_file(name: str, tmp_path: Path) -> None:
    found = published(name, tmp_path)
    path, _, row = PUBLISHED[name]
    assert (found[0].row, found[0].file) == (row, path)
    assert len({example.key for example in found}) == len(found)
    pattern = TASKS[name].files["test"][0].split("|")
    assert any(Path(path).match(each) for each in pattern)


PROTOCOLS = [(name, protocol) for name, task in TASKS.items() for protocol in task.protocols]


@pytest.mark.slow(15)
@pytest.mark.parametrize(("name", "protocol"), PROTOCOLS)
def test_a_model_that_knows_the_set_is_right_and_its_inverse_wrong(
    name: str, protocol: str, tmp_path: Path
) -> None:
    found = published(name, tmp_path)
    ask = of(TASKS[name], protocol, found, found, shots=2)
    settings, engine = ask.protocol.settings, choices
    template = settings.get("template")
    if ask.protocol.engine != "choices":
        template, engine = ask.protocol.engine.partition(":")[2], harness
    questions = harness.render(template, found, settings.get("fields"))
    right = [question.pairs[gold] for question in questions for gold in question.gold]

    def is_right(context: str, continuation: str) -> bool:
        return any(context.endswith(end) and continuation == answer for end, answer in right)

    noted = Oracle(lambda *_: 0.0)
    engine.evaluate(ask, noted)
    knowing = Oracle(lambda *pair: 0.0 if is_right(*pair) else -50.0 - len(pair[1]))
    knows = engine.evaluate(ask, knowing)
    inverse = engine.evaluate(ask, Oracle(lambda *pair: -50.0 if is_right(*pair) else 0.0))
    assert knowing.asked == noted.asked
    for measure in set(ask.protocol.measures) - {"ece", "ties"}:
        assert (measured(knows, measure), measured(inverse, measure)) == (1.0, 0.0)
    assert {document.shown for document in knows} == {2}
    only = settings.get("only")
    assert [document.example for document in knows] == [each for each in found if not only or each.row[only]]


def test_the_longest_answer_is_right_as_often_as_by_hand(tmp_path: Path) -> None:
    by_hand = {"hellaswag": 1 / 5, "piqa": 3 / 5, "copa": 3 / 5, "sat_analogies": 0 / 3, "storycloze": 2 / 5}
    for name, share in by_hand.items():
        ask = of(TASKS[name], "paper", published(name, tmp_path))
        longest = choices.evaluate(ask, Oracle(lambda _, continuation: float(len(continuation) ** 2)))
        assert measured(longest, "acc") == pytest.approx(share)


def test_an_answer_that_is_likely_anywhere_gains_nothing() -> None:
    row = {
        "question": "What falls?",
        "choices": {"text": ["it", "rain"], "label": ["A", "B"]},
        "answerKey": "B",
    }
    alone = {" it": -1.0, " rain": -9.0}
    oracle = Oracle(
        lambda context, word: alone[word] if context == "Answer:" else {" it": -2.0, " rain": -4.0}[word]
    )
    settings = {"template": "arc/arc_easy.yaml"}
    for rule, acc in (("per_answer", 1.0), ("sum", 0.0)):
        ask = asked("choices", examples([row]), settings={**settings, "rule": rule})
        assert measured(choices.evaluate(ask, oracle), "acc") == acc


def test_a_score_is_divided_by_tokens_not_by_characters() -> None:
    class Words(Oracle):
        def count(self, text: str) -> int:
            return len(text.split())

    row = {
        "question": "What falls?",
        "choices": {"text": ["so a b", "precipitation"], "label": ["A", "B"]},
        "answerKey": "A",
    }
    oracle = Words(lambda _, words: {" so a b": -6.0, " precipitation": -3.0}[words])
    settings = {"template": "arc/arc_easy.yaml", "rule": "per_token"}
    (document,) = choices.evaluate(asked("choices", examples([row]), settings=settings), oracle)
    assert document.sample["scores"] == [-2.0, -3.0]


OWN = {
    "doc_to_text": "{{ask}}",
    "doc_to_choice": ["a", "b", "a long answer"],
    "doc_to_target": "{{label}}",
    "target_delimiter": " ",
}


def own(rows: Sequence[dict[str, Any]], oracle: Oracle, shots: int = 0, **settings: Any) -> list[Document]:
    """Documents of made-up questions, each of which may be shown before the others."""
    found = examples(rows)
    given = {"rule": "sum", "fields": OWN, **settings}
    return choices.evaluate(asked("choices", found, found, shots=shots, settings=given), oracle)


def test_f1_counts_the_second_choice_or_each_of_them() -> None:
    rows = [{"ask": "?", "label": label} for label in (0, 1, 2)]
    documents = own(rows, Oracle(lambda _, answer: float(answer == " b")))
    assert [each.values["f1_binary"] for each in documents] == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    assert [each.values["f1_macro"] for each in documents] == [
        [0, 0, 1, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0, 0, 1],
    ]


def test_the_same_examples_are_shown_to_all_where_the_paper_does_so() -> None:
    rows = [{"ask": f"<{n}>", "label": 0} for n in range(9)]
    for same in (True, False):
        shown = {
            tuple(each.sample["prompt"].split("\n\n")[:2])
            for each in own(rows, Oracle(), shots=2, same_shots=same)[3:]
        }
        assert (len(shown) <= 2) == same  # 2: one of the questions may be among them


def test_only_examples_that_may_be_shown_are_drawn() -> None:
    rows = [{"ask": f"<{n}>", "label": 0, "first": n == 4} for n in range(9)]
    documents = own(rows, Oracle(), shots=3, drawn="first")
    assert {each.sample["prompt"].rpartition("\n\n")[0] for each in documents} == {"<4> a", ""}


def test_the_longest_context_and_the_longest_answer_must_fit() -> None:
    rows = [{"ask": "who", "label": 2, "with": "whoever it may be"} for _ in range(2)]
    partial = {"doc_to_text": 0, "doc_to_choice": "{{[ask, with]}}", "doc_to_target": "is it"}
    for fields, needed in (
        ({}, "who a long answer\n\nwho a long answer"),
        (partial, "who is it\n\nwhoever it may be is it"),
    ):
        for spare, shown in ((0, 1), (-1, 0)):
            oracle = Oracle(n_ctx=len(needed) + spare)
            assert own(rows, oracle, shots=1, fields=OWN | fields)[0].shown == shown


def test_a_solved_example_ends_without_white_space() -> None:
    rows = [{"ask": f"<{n}>", "label": 0} for n in range(2)]
    documents = own(rows, Oracle(), shots=1, fields=OWN | {"doc_to_choice": ["a \n", "b"]})
    assert documents[0].sample["prompt"] == "<1> a\n\n<0>"


def test_each_answer_of_record_is_right_and_its_words_are_compared_with_all(tmp_path: Path) -> None:
    (first, *_) = published("record", tmp_path)
    row = first.row | {"gold": [0, 1], "answers": ["Ann", "Bo", "Rome"]}
    oracle = Oracle(lambda *pair: 0.0 if "Bo whom" in "".join(pair) else -50.0)
    (document,) = choices.evaluate(of(TASKS["record"], "paper", [replace(first, row=row)]), oracle)
    assert [document.values[name] for name in ("acc", "em", "f1")] == [[1.0, 1.0]] * 3


def test_equal_scores_name_the_first_choice_and_count_as_ties(tmp_path: Path) -> None:
    found = published("arc_easy", tmp_path)
    documents = choices.evaluate(of(TASKS["arc_easy"], "paper", found), Oracle(lambda *_: -1.0))
    assert (measured(documents, "ties"), measured(documents, "acc")) == (1.0, 2 / 5)
    assert measured(documents, "ece") == pytest.approx(2 / 5 - 1 / 3)


def test_solved_examples_leave_from_the_front_until_the_longest_choice_fits(tmp_path: Path) -> None:
    found = published("arc_easy", tmp_path)
    question = "Question: What is layer 0 made of?\nAnswer:"
    room = 3 * len(question + " wet sand 0" + "\n\n") + 5
    documents = choices.evaluate(of(TASKS["arc_easy"], "paper", found, found, shots=4), Oracle(n_ctx=room))
    assert {document.shown for document in documents} == {2}
    for document in documents:
        assert document.sample["prompt"].count("\n\n") == 2
        assert document.sample["prompt"].split("\n\n")[-1] not in "".join(
            document.sample["prompt"].split("\n\n")[:-1]
        )


def test_multirc_shows_whole_questions_and_counts_a_question_once(tmp_path: Path) -> None:
    found = published("multirc", tmp_path)
    documents = choices.evaluate(of(TASKS["multirc"], "paper", found, found, shots=1), Oracle(lambda *_: 0.0))
    assert {document.sample["prompt"].split("\n\n")[0] for document in documents} == {
        "READING COMPREHENSION ANSWER KEY"
    }
    assert documents[0].sample["prompt"].count("- [") == 3
    assert np.sum([document.values["em"] for document in documents], axis=0).tolist() == [0.0, 6.0]


BROKEN = [
    (
        "hellaswag",
        '"label": 3',
        '"label": 4',
        "hellaswag_val.jsonl:1: field 'label' is 4, where a label from 0 to 3",
    ),
    ("hellaswag", '"ctx_a"', '"ctx"', "hellaswag_val.jsonl:1: has no field 'ctx_a'"),
    (
        "arc_easy",
        '"answerKey": "1"',
        '"answerKey": "E"',
        "Test.jsonl:1: field 'answerKey' is 'E', where one of '1'",
    ),
    ("boolq", "true", '"yes"', "dev.jsonl:1: field 'answer' is 'yes', where one of False, True is wanted"),
    ("winogrande", "_ was", "Ann was", "dev.jsonl:1: field 'sentence' is .* where a sentence with a blank"),
    ("cb", "neutral", "maybe", "val.jsonl:1: field 'label' is 'maybe', where one of 'entailment'"),
    (
        "wic",
        '"end1": 33',
        '"end1": 330',
        "val.jsonl:1: field 'end1' is 330, where an end of a word in sentence1",
    ),
    ("wsc", '"span1_index": 0', '"span1_index": 99', "val.jsonl:1: target: field 'span1_index' is 99"),
    (
        "multirc",
        '"label": 0',
        '"label": 2',
        r"val.jsonl:1: passage: questions\[0\]: answers\[0\]: field 'label' is 2",
    ),
    ("record", "@placeholder", "she", r"val.jsonl:1: qas\[0\]: field 'query' is 'It was she"),
    ("winograd", "<answer>The dem", "<other/><!--", "WSCollection.xml: is no whole XML"),
    ("winograd", "they </pron>", "</pron>", "WSCollection.xml:2: field 'pronoun' is '', where a word"),
    (
        "storycloze",
        "won.,1",
        "won.,3",
        "test.csv:2: field 'AnswerRightEnding' is '3', where one of '1', '2'",
    ),
    ("storycloze", "InputSentence4", "Sentence4", "test.csv:2: has no field 'InputSentence4'"),
    (
        "race_h",
        '["a cat", ',
        "[",
        "7.txt: question 1: field 'options' is .* where a list of four texts is wanted",
    ),
    ("race_h", '"answers"', "answers", "7.txt: is no JSON"),
    (
        "sat_analogies",
        "v:n\nc\n",
        "v:n\nf\n",
        "SAT-package-V3.txt:10: field 'answer' is 'f', where one of 'a'",
    ),
    ("sat_analogies", "balk fortitude v:n\n", "", "SAT-package-V3.txt:3: a block of 7 lines"),
    ("anli_r1", '"n"', '"x"', "test.jsonl:1: field 'label' is 'x', where one of 'e', 'n', 'c'"),
]


@pytest.mark.parametrize(("name", "right", "wrong", "said"), BROKEN)
def test_what_is_wrong_is_named_with_file_line_and_field(
    name: str, right: str, wrong: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / PUBLISHED[name][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    assert right in PUBLISHED[name][1]
    path.write_text(PUBLISHED[name][1].replace(right, wrong, 1))
    with pytest.raises(DataError, match=said):
        read(TASKS[name], tmp_path, [path])


def test_labels_beside_the_questions_must_be_as_many(tmp_path: Path) -> None:
    published("piqa", tmp_path)
    labels, path = tmp_path / BESIDE["piqa"][0], tmp_path / PUBLISHED["piqa"][0]
    labels.write_text("1\n0\n")
    with pytest.raises(
        DataError, match=r"valid-labels\.lst: has 2 labels, but .*valid\.jsonl has 5 questions"
    ):
        read(TASKS["piqa"], tmp_path, [path])
    labels.unlink()
    with pytest.raises(
        DataError, match=r"valid\.jsonl:1: has no field 'label', and there is no valid-labels\.lst"
    ):
        read(TASKS["piqa"], tmp_path, [path])


def test_byte_order_marks_ends_of_lines_and_gzip_do_not_matter_but_a_cut_file_does(tmp_path: Path) -> None:
    _, content, row = PUBLISHED["rte"]
    packed = gzip.compress(("\ufeff" + content.replace("\n", "\r\n") + "\r\n").encode())
    path = tmp_path / "val.jsonl.gz"
    path.write_bytes(packed)
    assert read(TASKS["rte"], tmp_path, [path])[0].row == row
    path.write_bytes(packed[:-10])
    with pytest.raises(DataError, match=r"val\.jsonl\.gz: is damaged or cut"):
        read(TASKS["rte"], tmp_path, [path])


def test_keys_are_unique_though_ids_are_not(tmp_path: Path) -> None:
    path = tmp_path / "val.jsonl"
    path.write_text(PUBLISHED["rte"][1] * 2)
    keys = [example.key for example in read(TASKS["rte"], tmp_path, [path])]
    assert keys == ["0", "1", "2", "3", "4", "0#2", "1#2", "2#2", "3#2", "4#2"]


@pytest.mark.parametrize("name", TASKS)
def test_the_files_of_lm_eval_that_a_task_names_are_in_the_installed_one(name: str) -> None:
    for protocol in TASKS[name].protocols.values():
        template = protocol.settings.get("template") or protocol.engine.partition(":")[2]
        if template:
            assert lm_eval_files.load(template)["task"]
        assert set(protocol.measures) <= MEASURES.keys()


FLAT: dict[str, dict[str, Any]] = {
    "boolq": {"question": "is 0 a number", "passage": "Number -- They count.", "label": 1},
    "cb": {"premise": "0 cats sat.", "hypothesis": "Cats sat", "label": 2},
    "wic": {**PUBLISHED["wic"][2]},
    "wsc": {**PUBLISHED["wsc"][2], "span1_text": "ann"},
    "anli_r1": {"premise": "Ann has 0 cats.", "hypothesis": "Ann has a cat.", "label": 1},
    "record": {key: PUBLISHED["record"][2][key] for key in ("passage", "query", "entities", "answers")},
    "storycloze": PUBLISHED["storycloze"][2],
    "winograd": PUBLISHED["winograd"][2],
    "sat_analogies": {
        "stem": ["lull", "trust"],
        "choice": [phrase.split(" is to ") for phrase in PUBLISHED["sat_analogies"][2]["phrases"]],
        "answer": 2,
    },
}
"""Rows of copies of the sets, with their fields in one level."""


@pytest.mark.parametrize("name", FLAT)
def test_copies_with_flat_rows_give_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.jsonl"
    path.write_text(lines(FLAT[name]))
    assert read(TASKS[name], tmp_path, [path])[0].row == PUBLISHED[name][2]


@pytest.mark.parametrize("name", ["multirc", "race_h"])
def test_flat_rows_of_one_text_come_together_again(name: str, tmp_path: Path) -> None:
    found, path = published(name, tmp_path), tmp_path / "copy.jsonl"
    letters = [
        {**example.row, "answer": "ABCD"[example.row["label"]]} for example in found if name == "race_h"
    ]
    path.write_text(lines(*(letters or [example.row for example in found])))
    copied = read(TASKS[name], tmp_path, [path])
    for ours, other in zip(copied, found, strict=True):
        assert {**ours.row, "group": ""} == {**other.row, "group": ""}
    assert len({example.unit for example in copied}) == len({example.unit for example in found})
    groups = {example.row.get("group", "") for example in copied}
    assert len(groups) == len({example.row.get("group", "") for example in found})
