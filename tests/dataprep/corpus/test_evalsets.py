"""Evaluation sets of every form that benchmarks come in."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dataprep.corpus import evalsets
from dataprep.errors import DataError


@pytest.mark.parametrize(
    ("name", "content", "texts", "ids"),
    [
        (
            "a.jsonl",
            '{"q": "Who?", "n": 3, "c": {"t": ["A", "B"]}}\n\n"bare"\n',
            ["Who? A B", "bare"],
            [None, None],
        ),
        ("a.ndjson", '{"id": "x7", "text": "T"}\n', ["x7 T"], ["x7"]),
        ("a.jsonl", '{"idx": 5, "text": "T"}\r\n', ["T"], [5]),
        ("a.tsv", "one two\tthree\n\n4\t\n", ["one two three", "4 "], [None, None]),
        ("a.txt", "\ufeffA line.\n  \nAnother\tone.", ["A line.", "Another\tone."], [None, None]),
        ("newstest.fra", "Été.\n", ["Été."], [None]),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_form_gives_its_examples(
    tmp_path: Path, name: str, content: str, texts: list[str], ids: list[object], zipped: bool
) -> None:
    path = tmp_path / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(content.encode()) if zipped else content.encode())
    found = list(evalsets.examples(path))
    assert [example.text for example in found] == texts
    assert [example.id for example in found] == ids


def test_lines_are_counted_from_1_with_the_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n\nthree\n")
    assert [example.line for example in evalsets.examples(path)] == [1, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"q": 1}\n{"q": \n', r"a\.jsonl:2: is no JSON .*plain text"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl:1: is no JSON"),
        ("a.txt", b"caf\xe9\n", r"a\.txt: cannot be read as text .*UTF-8"),
        ("a.txt.gz", b"no gzip", r"a\.txt\.gz: cannot be read"),
        ("a.txt.gz", gzip.compress(b"a line\n" * 999, mtime=0)[:-20], r"a\.txt\.gz: cannot be read"),
    ],
)
def test_what_is_no_set_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(evalsets.examples(tmp_path / name))


def test_a_directory_without_sets_is_named(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("x")
    wrong = {tmp_path: "holds no evaluation set", tmp_path / "absent": "there is no such directory"}
    for directory, what in wrong.items():
        with pytest.raises(DataError, match=what):
            evalsets.files(directory)


def test_the_content_changes_with_a_byte_and_a_name_but_not_with_the_place(tmp_path: Path) -> None:
    def content(place: str, name: str, text: str) -> str:
        path = tmp_path / place / "sub" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return evalsets.content(evalsets.hashes(tmp_path / place))

    assert content("a", "x.txt", "one") == content("b", "x.txt", "one")
    assert (
        len({content("c", "x.txt", "one"), content("d", "y.txt", "one"), content("e", "x.txt", "two")}) == 3
    )
