"""A damaged file of any set is refused in one line that names it, or read as examples that all can use."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus.evalsets import strings
from dataprep.errors import DataError
from pipeline.eval.sets.rows import Keys
from support.evaluation import read, shipped
from support.published_choices import PUBLISHED

from .test_reading import ARTICLE, PASSAGES, SECTION, STORY

ANSWER = {"Value": "A", "Aliases": ["A"], "NormalizedAliases": ["a"], "HumanAnswers": ["A"]}
FILES = {
    **{name: (path, content) for name, (path, content, _) in PUBLISHED.items() if "json" in path},
    **{
        name: (f"{name}.json", json.dumps(content))
        for name, content in {
            "coqa": {"data": [STORY]},
            "quac": {"data": [SECTION]},
            "squad2": {"data": [ARTICLE]},
            "drop": PASSAGES,
            "triviaqa": {"Data": [{"QuestionId": "t", "Question": "Who?", "Answer": ANSWER}]},
            "webquestions": [{"url": "", "utterance": "who?", "targetValue": '(list (description "A"))'}],
        }.items()
    },
}
COPIES = {
    "race_h": ("race.jsonl", {"article": "A", "question": "Who?", "options": [*"abcd"], "answer": "B"}),
    "sat_analogies": ("sat.jsonl", {"stem": ["a", "b"], "choice": [["c", "d"], ["e", "f"]], "answer": 1}),
}
OTHERS: list[Any] = [None, 1.5, "", "9" * 5000, [], {}, [None], [[]], "\ud800"]
Place = Sequence[str | int]


def places(value: Any, before: Place = ()) -> Iterator[Place]:
    """All places in a JSON value but the whole."""
    for key in range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ():
        yield (*before, key)
        yield from places(value[key], (*before, key))


def damaged(value: Any) -> Iterator[Any]:
    """The value with something else in one place, with a place missing, and with an item of a list twice."""
    for *outer, last in places(value):
        for other in (*OTHERS, ...):
            changed = copy.deepcopy(value)
            within = changed
            for key in outer:
                within = within[key]
            if other is not ...:
                within[last] = other
            elif isinstance(within, list):
                within.append(within[last])
            else:
                del within[last]
            yield changed


def refusal(task: str, path: Path, content: bytes) -> str:
    """Why a file is refused, or "" when it is read; all else is a fault."""
    path.write_bytes(content)
    try:
        found = read(shipped(task), path.parent, [path])
    except DataError as error:
        return str(error)
    assert len({example.key for example in found}) == len(found)
    for example in found:
        "".join([example.key, example.unit, *strings(example.row)]).encode()
    return ""


def is_one_line(why: str, path: Path) -> bool:
    return why.startswith(str(path)) and "\n" not in why and len(why) < len(str(path)) + 1000


@pytest.mark.parametrize(("task", "file"), [*FILES.items(), *COPIES.items()])
def test_any_other_value_is_refused_in_a_line_or_read(
    task: str, file: tuple[str, Any], tmp_path: Path
) -> None:
    path, first = tmp_path / Path(file[0]).name, file[1]
    if isinstance(first, str):
        first = json.loads(first.splitlines()[0] if path.suffix == ".jsonl" else first)
    found = [refusal(task, path, json.dumps(changed).encode()) for changed in damaged(first)]
    refused = [why for why in found if why]
    assert refused
    assert [why for why in refused if not is_one_line(why, path)] == []


@pytest.mark.parametrize("task", [*FILES, "storycloze", "winograd"])
def test_a_file_that_is_cut_or_no_text_is_refused_in_a_line_or_read(task: str, tmp_path: Path) -> None:
    name, content = FILES.get(task) or PUBLISHED[task][:2]
    path, whole = tmp_path / Path(name).name, content.encode()
    start, end = whole[: len(whole) // 2], whole[len(whole) // 2 :]
    found = [
        refusal(task, path, other) for other in (start, start + b"\xe9" + end, start + b"\0,,,,,\n" + end)
    ]
    assert [why for why in found if why and not is_one_line(why, path)] == []
    assert found[1]


def test_a_table_with_more_fields_than_names_is_refused(tmp_path: Path) -> None:
    first, row, *_ = PUBLISHED["storycloze"][1].splitlines()
    why = refusal("storycloze", tmp_path / "x.csv", f"{first}\n{row},more\n".encode())
    assert ":2: has other fields than the first line" in why


def test_no_two_keys_are_equal() -> None:
    keys = Keys()
    given = ["7", "7#2", "7", "7", "7#2", "7#2#2"]
    assert len({keys(key) for key in given}) == len(given)
