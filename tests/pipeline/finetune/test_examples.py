"""Examples are read from every format alike, and a mistake is reported with its file, row and remedy."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataprep.errors import DataError
from pipeline.finetune.examples import Example, read

Write = Callable[[str, str | bytes], Path]
BY_NUMBER = {"text": 0, "label": 1}
PAIR = {"first": 0, "second": 1, "label": 2}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def brief(examples: list[Example]) -> list[tuple[Any, ...]]:
    return [(*example.texts, example.label, example.row) for example in examples]


def test_each_format_gives_the_same_examples(write: Write) -> None:
    plain = 'a "fine" film\tgood\nno, thanks\tbad\n'
    named = {"text": "review", "label": "stars"}
    lines = [
        json.dumps({"review": text, "stars": label, "id": 3})
        for text, label in (line.split("\t") for line in plain.splitlines())
    ]
    paths: list[tuple[Path, dict[str, Any], int]] = [
        (write("a.tsv", plain), BY_NUMBER, 1),
        (write("a.txt", plain), BY_NUMBER, 1),
        (write("crlf.tsv", plain.replace("\n", "\r\n")), BY_NUMBER, 1),
        (write("bom.tsv", "\ufeff" + plain), BY_NUMBER, 1),
        (write("a.csv", '"a ""fine"" film",good\n"no, thanks",bad\n'), BY_NUMBER, 1),
        (write("named.csv", 'stars,review\ngood," a ""fine"" film "\n\nbad,"no, thanks"\n'), named, 2),
        (write("a.jsonl", "\n".join(lines)), named, 1),
        (write("json.txt", "\n".join(lines)), named, 1),
        (write("a.tsv.gz", gzip.compress(plain.encode())), BY_NUMBER, 1),
        (write("a.tsv.bz2", bz2.compress(plain.encode())), BY_NUMBER, 1),
    ]
    for path, columns, first in paths:
        found = read(path, "classification", columns)
        assert [(*each.texts, each.label) for each in found] == [
            ('a "fine" film', "good"),
            ("no, thanks", "bad"),
        ], path
        assert found[0].row == first, path
    assert read(paths[5][0], "classification", named)[1].row == 4, "a blank line is no row, but a line"


def test_a_row_of_csv_is_the_line_on_which_it_begins(write: Write) -> None:
    path = write("a.csv", 'a,b,1\n"two\nlines",c,2\nd,"e, f",3.5\n')
    assert brief(read(path, "similarity", PAIR, graded=True)) == [
        ("a", "b", 1.0, 1),
        ("two\nlines", "c", 2.0, 2),
        ("d", "e, f", 3.5, 4),
    ]


def test_a_header_is_left_out_when_it_is_named_or_asked_for(write: Write) -> None:
    path = write("a.tsv", "text\tlabel\nfine\t1\n")
    assert len(read(path, "classification", BY_NUMBER)) == 2
    assert len(read(path, "classification", BY_NUMBER, header=True)) == 1
    assert len(read(path, "classification", {"text": "text", "label": 1})) == 1


def test_rows_of_labels_that_are_left_out_are_no_examples(write: Write) -> None:
    path = write("a.tsv", "fine\t1\nwell\t-\nbad\t0\n")
    assert [each.row for each in read(path, "classification", BY_NUMBER, leave_out=["-"])] == [1, 3]
    with pytest.raises(DataError, match=r"a\.tsv: holds no examples; give a file with rows"):
        read(path, "classification", BY_NUMBER, leave_out=["-", "0", "1"])


def test_a_folder_of_labels_has_a_folder_or_a_file_for_each(write: Write, tmp_path: Path) -> None:
    write("films/pos/0_9.txt", "Fine.\nVery fine.\n")
    write("films/neg/1_1.txt", "Bad.")
    write("lines/rt.neg.txt.gz", gzip.compress(b"bad\n\nworse\n"))
    write("lines/rt.pos", "fine\n")
    write("lines/.hidden", "x")
    found = read(tmp_path / "films", "classification", {})
    assert brief(found) == [("Bad.", "neg", 1), ("Fine.\nVery fine.", "pos", 1)]
    lines = read(tmp_path / "lines", "classification", {})
    assert brief(lines) == [("bad", "rt.neg", 1), ("worse", "rt.neg", 3), ("fine", "rt.pos", 1)]
    write("films/README", "x")
    with pytest.raises(DataError, match="holds folders, each a label, and README beside them; move it away"):
        read(tmp_path / "films", "classification", {})


def test_stories_have_a_context_of_several_columns(write: Write) -> None:
    path = write("a.csv", "Id,S1,S2,End1,End2,Right\n1,One.,Two.,Three.,Four.,2\n2,A.,B.,C.,D.,1\n")
    columns = {"context": ["S1", "S2"], "answers": ["End1", "End2"], "label": "Right"}
    assert brief(read(path, "multiple_choice", columns)) == [
        ("One. Two.", "Three.", "Four.", "1", 2),
        ("A. B.", "C.", "D.", "0", 3),
    ]


def test_an_article_with_several_questions_is_an_example_for_each(write: Write, tmp_path: Path) -> None:
    article = {
        "article": "He ran.",
        "questions": ["Who?", "What?"],
        "options": [["he", "she", "it"], ["sat", "ran", "ate"]],
        "answers": ["A", "B"],
        "id": "high1.txt",
    }
    write("train/high/1.txt", json.dumps(article))
    write("train/middle/1.txt", json.dumps(article | {"answers": ["C", "A"]}))
    columns = {"context": ["article", "questions"], "answers": "options", "label": "answers"}
    found = read(tmp_path / "train", "multiple_choice", columns)
    assert brief(found)[1] == ("He ran. What?", "sat", "ran", "ate", "1", 1)
    assert [each.label for each in found] == ["0", "1", "2", "0"]
    path = write("one.jsonl", json.dumps(article | {"options": [["he", "she"]]}))
    with pytest.raises(DataError, match=r"one.jsonl:1: has 2 labels, and a list of 1 beside them"):
        read(path, "multiple_choice", columns)


@pytest.mark.parametrize(("labels", "indices"), [("012", "012"), ("312", "201"), ("CAB", "201")])
def test_answers_are_counted_from_0_from_1_or_from_a(write: Write, labels: str, indices: str) -> None:
    path = write("a.tsv", "".join(f"q\tx\ty\tz\t{label}\n" for label in labels))
    columns = {"context": 0, "answers": [1, 2, 3], "label": 4}
    assert "".join(str(each.label) for each in read(path, "multiple_choice", columns)) == indices


MISTAKES: dict[str, tuple[str, str | bytes, str, str]] = {
    "no file": ("", "", "classification", "a.tsv: no such file or folder; correct the path"),
    "ending": ("a.xls", "x", "classification", "ends in none of .csv, .tsv, .jsonl, .json, .txt"),
    "no rows": ("a.tsv", "\n\n", "classification", "a.tsv: holds no examples; give a file with rows"),
    "latin-1": ("a.tsv", b"one\t1\ncaf\xe9\t0\n", "classification", "a.tsv:2: is not UTF-8"),
    "cut": ("a.tsv.gz", gzip.compress(b"one\t1\n" * 99)[:-9], "classification", "cut at byte"),
    "empty text": ("a.tsv", "one\t1\n \t0\n", "classification", "a.tsv:2: column 0 (text) is empty"),
    "no column": ("a.tsv", "one\t1\ntwo\n", "classification", "a.tsv:2: has no column 1 (label)"),
    "empty label": ("a.tsv", "one\t\n", "classification", "a.tsv:1: column 1 (label) is empty; fill it"),
    "comma": ("a.csv", "one,1\none, two,0\n", "classification", "a.csv:2: has 3 columns, the first row 2"),
    "open quote": ("a.csv", 'one,1\n"two,0\nthree,1\n', "classification", "a.csv:2: is no row of CSV"),
    "word": ("a.tsv", "a\tb\tscore\n", "similarity", "a.tsv:1: column 2 (label) is 'score', not a number"),
    "nan": (
        "a.tsv",
        "a\tb\t1\nc\td\tNaN\n",
        "similarity",
        "a.tsv:2: column 2 (label) is 'NaN', not a number",
    ),
    "infinite": ("a.tsv", "a\tb\t-inf\n", "similarity", "a.tsv:1: column 2 (label) is '-inf', not a number"),
    "numbers": ("a.jsonl", '{"text": "x"}', "classification", "holds JSON, whose columns have names"),
    "answers": ("a.tsv", "q\tx\ty\t3\n", "multiple_choice", "a.tsv:1: label '3' is not one of 2 answers"),
    "either": ("a.tsv", "q\tx\ty\t1\n", "multiple_choice", "labels 1 may count the answers from 0 or from 1"),
    "both": ("a.tsv", "q\tx\ty\t0\nq\tx\ty\t2\n", "multiple_choice", "a.tsv:1: label '0' is not one of 2"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_with_file_row_and_remedy(name: str, write: Write, tmp_path: Path) -> None:
    file, content, kind, message = MISTAKES[name]
    path = write(file, content) if file else tmp_path / "a.tsv"
    columns = {
        "classification": BY_NUMBER,
        "similarity": PAIR,
        "multiple_choice": {"context": 0, "answers": [1, 2], "label": 3},
    }[kind]
    with pytest.raises(DataError) as refused:
        read(path, kind, columns, graded=kind == "similarity")
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_columns_by_name_must_be_in_the_header_once(write: Write) -> None:
    path = write("a.tsv", "text\tgold\tgold\nfine\t1\t1\n")
    with pytest.raises(
        DataError, match=r"a.tsv:1: has no column 'label' \(its columns are text, gold, gold\)"
    ):
        read(path, "classification", {"text": "text", "label": "label"})
    with pytest.raises(DataError, match=r"a.tsv:1: has several columns 'gold'"):
        read(path, "classification", {"text": "text", "label": "gold"})
    with pytest.raises(
        DataError, match=r"has no column 'text' \(it has no header\); correct `columns` and `hea"
    ):
        read(path, "classification", {"text": "text", "label": 1}, header=False)


def test_fields_of_json_must_be_texts(write: Write) -> None:
    columns = {"text": "text", "label": "label"}
    path = write("a.jsonl", '{"text": "a", "label": true}\n{"text": 5, "label": 1}\n{"text": "b"}\n')
    with pytest.raises(DataError) as refused:
        read(path, "classification", columns)
    assert str(refused.value).splitlines() == [
        f"{path}: 2 mistakes",
        f"  {path}:2: column 'text' (text) is 5, not a text; correct it, or `columns`",
        f"  {path}:3: has no column 'label' (label); correct the row, or `columns`",
    ]
    for line in ("[1]", '{"text": "\\ud800", "label": 1}', "{" * 10**5):
        with pytest.raises(DataError, match=r"b.jsonl:1: is no JSON object .*; each line must be one"):
            read(write("b.jsonl", line), "classification", columns)


def test_a_file_full_of_mistakes_shows_the_first_few(write: Write) -> None:
    path = write("a.tsv", "x\n" * 100)
    with pytest.raises(DataError, match=r"a\.tsv: the first mistakes") as refused:
        read(path, "classification", BY_NUMBER)
    assert len(str(refused.value).splitlines()) == 6


def test_all_questions_of_a_set_have_the_same_number_of_answers(write: Write) -> None:
    rows = [{"q": "?", "c": ["a", "b"], "l": 0}, {"q": "?", "c": ["a", "b", "c"], "l": 1}]
    columns = {"context": "q", "answers": "c", "label": "l"}
    path = write("a.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(
        DataError, match=r"a.jsonl:2: has 3 answers, not 2 as in .*a.jsonl:1; give all the same"
    ):
        read(path, "multiple_choice", columns)
    path = write("b.jsonl", json.dumps({"q": "?", "c": ["a"], "l": 0}))
    with pytest.raises(DataError, match=r"b.jsonl:1: has 1 answers; at least two are needed"):
        read(path, "multiple_choice", columns)


def test_a_csv_may_hold_a_long_document(write: Write) -> None:
    text = "word " * 40_000
    (found,) = read(write("long.csv", f'"{text}",good\n'), "classification", BY_NUMBER)
    assert found.texts == (text.strip(),)
