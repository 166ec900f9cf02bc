"""Texts, JSONL, Parquet and WET become documents; what is damaged is counted and named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from dataprep import ingest
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Collect, Links, Recipe
from dataprep.corpus.urls import canonical
from dataprep.errors import DataError
from dataprep.imports.rows import Fields, RowNotes
from dataprep.store.file_damage import FileDamage
from dataprep.store.files import read_table
from dataprep.store.records import Record
from support.cli import run
from support.ready_corpus import no_progress

TEXTS = [
    f"Chapter {number}. " + f"It was a quiet evening by the harbour, number {number}. " * 9
    for number in range(7)
]


def make(root: Path, partition_mb: float = 256) -> Corpus:
    rules = Links(blocked_sites=frozenset(["blocked.test"]))
    return Corpus.create(root, Recipe(name="texts", collect=Collect(links=rules, partition_mb=partition_mb)))


def bring(corpus: Corpus, name: str, kind: str, *paths: Path, **columns: str) -> Increment:
    increment = ingest.bring(corpus, name, kind, list(paths), Fields(**columns), None, 1, no_progress)
    assert increment.closed
    assert list(problems(corpus)) == []
    return increment


def documents(corpus: Corpus, increment: Increment) -> list[dict[str, Any]]:
    return read_table(corpus.root, increment.outputs("extract", "documents")).to_pylist()


def total(increment: Increment) -> tuple[int, int, dict[str, int]]:
    """What entered, what passed, and why the rest did not."""
    records: list[Record] = increment.records("extract")
    reasons: dict[str, int] = {}
    for record in records:
        for reason, number in record.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + number
    return sum(r.entered for r in records), sum(r.passed for r in records), reasons


def damage(increment: Increment) -> list[FileDamage]:
    return [each for record in increment.records("extract") for each in record.noted(RowNotes).damage]


@pytest.mark.slow(1)
def test_every_kind_of_file_gives_the_same_texts(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    packed: list[Callable[[bytes], bytes]] = [
        bytes,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        zstd.compress,
    ]
    endings = ("", ".gz", ".bz2", ".xz", ".zst")
    rows = [{"text": text, "url": f"http://a.test/{n}"} for n, text in enumerate(TEXTS)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for number, text in enumerate(TEXTS):
        kind = number % len(endings)
        (folder / f"{number}.txt{endings[kind]}").write_bytes(packed[kind](text.encode()))
    for ending, pack in zip(endings, packed, strict=True):
        (tmp_path / f"{ending[1:] or 'plain'}.jsonl").write_bytes(pack(lines))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=2)

    corpus = make(tmp_path / "corpus")
    made = [
        bring(corpus, "text", "text", folder),
        bring(corpus, "parquet", "parquet", tmp_path / "rows.parquet"),
    ]
    made += [bring(corpus, path.stem, "jsonl", path) for path in sorted(tmp_path.glob("*.jsonl"))]
    assert len(made) == 7
    keys = [[row["text_key"] for row in documents(corpus, increment)] for increment in made]
    assert keys == [keys[0]] * 7
    assert [row["text"] for row in documents(corpus, made[0])] == [text.strip() for text in TEXTS]
    judged = corpus.current_build().parts("verdicts")
    later = sum(part.reasons.get("exact_duplicate", 0) for part in judged)
    assert later == 6 * len(TEXTS)


def test_a_document_is_named_by_its_url_or_by_its_place_in_its_file(tmp_path: Path) -> None:
    rows = [
        {"text": TEXTS[0], "url": "HTTP://A.test/x?utm_source=y", "title": "One", "date": "2013-08-01"},
        {"text": TEXTS[1], "url": None},
        {"text": TEXTS[2], "url": "no address"},
        {"text": TEXTS[3], "url": "http://www.blocked.test/"},
    ]
    file = tmp_path / "some rows.jsonl"
    file.write_text("\n\n".join(map(json.dumps, rows)))
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "jsonl", file)
    first, *others = documents(corpus, increment)
    assert (first["url"], first["site"], first["title"], first["date"]) == (
        "http://a.test/x",
        "a.test",
        "One",
        "2013-08-01",
    )
    assert first["url_key"] == canonical("https://a.test/x").key
    assert [row["url"] for row in others] == ["file:some%20rows.jsonl#3", "file:some%20rows.jsonl#5"]
    assert {row["site"] for row in others} == {""}
    assert total(increment) == (4, 3, {"blocked_site": 1})
    assert {row["karma"] for row in [first, *others]} == {None}


def test_bad_rows_are_counted_and_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    good = json.dumps({"body": TEXTS[0]}).encode()
    lines = [
        good,
        b"{",
        b'"text"',
        b'{"body": 3}',
        b'{"body": " "}',
        b"{}",
        b'{"body": "\xff"}',
        b"\xff\xfe",
        good,
    ]
    file.write_bytes(b"\n".join(lines))
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "jsonl", file, text="body")
    assert total(increment) == (9, 2, {"bad_record": 2, "no_text": 3, "not_utf8": 2})
    (found,) = damage(increment)
    assert (found.path, found.lines, found.bad_lines) == ("bad.jsonl", 9, 4)
    assert [example.partition(":")[0] for example in found.examples] == ["row 2", "row 3", "row 7", "row 8"]


def test_rows_as_many_programs_write_them_are_read(tmp_path: Path) -> None:
    """A byte order mark, NaN and infinities, halves of surrogate pairs, control signs: in any line."""
    lines = [
        f'\ufeff{{"text": "0 {TEXTS[0]}"}}',
        f'{{"score": NaN, "text": "1 {TEXTS[1]}", "low": -Infinity, "more": [1e999, {{"a": Infinity}}]}}',
        f'{{"text": "2 {TEXTS[2]} \\ud83d cut", "title": "\\udc00"}}',
        f'{{"text": "3 {TEXTS[3]}\ttab"}}',
        f'\ufeff{{"text": "4 {TEXTS[4]} \\ud83d\\ude00", "n": {"9" * 400}}}',
        "\ufeff",
        "[NaN]",
        '{"text": NaN}',
        '{"text": "\\ud83d"',
    ]
    file = tmp_path / "rows.jsonl"
    file.write_bytes("\n".join(lines).encode())
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "jsonl", file)
    assert total(increment) == (9, 5, {"bad_record": 3, "no_text": 1})
    texts = [row["text"] for row in documents(corpus, increment)]
    assert [text[0] for text in texts] == list("01234")
    assert texts[2].endswith(" \ufffd cut")
    assert documents(corpus, increment)[2]["title"] == "\ufffd"
    assert texts[3].endswith("\ttab")
    assert texts[4].endswith(" 😀")


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.binary()),
    ],
)
def test_a_parquet_column_of_bytes_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    texts = [text.encode() for text in ("\ufeff" + TEXTS[0], "Müller " + TEXTS[1])]
    urls = [b"http://a.test/0", b"http://a.test/1"]
    if not pa.types.is_string_view(kind):
        texts, urls = [*texts, b"M\xfcller"], [*urls, b"http://a.test/2"]
    columns = {"text": pa.array(texts, pa.binary()).cast(kind), "url": pa.array(urls, pa.binary())}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "parquet", tmp_path / "rows.parquet")
    lost = {"not_utf8": 1} if len(texts) == 3 else {}
    assert total(increment) == (len(texts), 2, lost)
    assert [row["text"] for row in documents(corpus, increment)] == [
        TEXTS[0].strip(),
        f"Müller {TEXTS[1]}".strip(),
    ]
    assert [row["url"] for row in documents(corpus, increment)] == ["http://a.test/0", "http://a.test/1"]


@pytest.mark.slow(2)
def test_a_cut_file_gives_what_it_held(tmp_path: Path) -> None:
    whole = gzip.compress(
        "".join(json.dumps({"text": f"{n} {t}"}) + "\n" for n, t in enumerate(TEXTS * 999)).encode(), 1
    )
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "book.txt.gz").write_bytes(gzip.compress(TEXTS[0].encode())[:-12])
    (tmp_path / "latin.txt").write_bytes("Müller".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "whole.txt").write_bytes(b"\xef\xbb\xbf" + TEXTS[1].encode())
    corpus = make(tmp_path / "corpus")
    entered, passed, reasons = total(cut := bring(corpus, "cut", "jsonl", tmp_path / "cut.jsonl.gz"))
    assert 1000 < passed < 6993
    assert entered == passed + sum(reasons.values())
    assert "cut at byte" in str(damage(cut)[0].stopped)
    books = bring(corpus, "books", "text", tmp_path)
    assert total(books) == (4, 1, {"bad_record": 1, "not_utf8": 1, "no_text": 1})
    assert [each.path for each in damage(books)] == ["book.txt.gz", "latin.txt"]
    assert documents(corpus, books)[0]["text"] == TEXTS[1].strip()


def test_a_damaged_row_group_costs_no_other(tmp_path: Path) -> None:
    rows = [{"body": f"{n} {TEXTS[n % 7]}", "when": date(2013, 8, 1)} for n in range(40)]
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=10, use_dictionary=False)
    column = pq.read_metadata(file).row_group(1).column(0)
    content = bytearray(file.read_bytes())
    content[column.data_page_offset : column.data_page_offset + 40] = bytes(40)
    file.write_bytes(content)
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "parquet", file, text="body", date="when")
    assert total(increment) == (40, 30, {"bad_record": 10})
    assert [row["text"].split()[0] for row in documents(corpus, increment)] == [
        str(n) for n in range(40) if n // 10 != 1
    ]
    assert {row["date"] for row in documents(corpus, increment)} == {"2013-08-01"}


@pytest.mark.slow(1)
def test_partitions_follow_the_size_of_the_data(tmp_path: Path) -> None:
    rows = [{"text": f"{n} {TEXTS[n % 7]}"} for n in range(50)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    small, large = make(tmp_path / "small", 0.005), make(tmp_path / "large")
    many, one = (bring(corpus, "a", "jsonl", tmp_path / "rows.jsonl") for corpus in (small, large))
    assert len(one.records("extract")) == 1
    assert 4 < len(many.records("extract")) < 10
    assert documents(small, many) == documents(large, one)
    assert [record.noted(RowNotes).last for record in many.records("extract")].count(True) == 1


WRONG: list[tuple[str, bytes, str]] = [
    ("parquet", b"PAR1 this is none", "cannot be read as Parquet"),
    ("jsonl", b'{"words": "a"}\n', "--text-field"),
    ("text", b"", "no document is in these files"),
    ("wet", b"no such thing", "holds no WARC record"),
    ("warc", b"no such thing", "holds no WARC record"),
]


@pytest.mark.parametrize(("kind", "content", "message"), WRONG)
def test_what_cannot_be_read_at_all_is_an_error_that_says_so_and_leaves_nothing(
    tmp_path: Path, kind: str, content: bytes, message: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    corpus = make(tmp_path / "corpus")
    before = set(corpus.root.rglob("*"))
    with pytest.raises(DataError, match=message):
        bring(corpus, "a", kind, tmp_path / "file")
    assert {path for path in set(corpus.root.rglob("*")) - before if path.is_file()} == set()
    assert corpus.increments() == []


def test_changed_inputs_and_options_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"text": TEXTS[0], "url": "http://a.test/"}))
    corpus = make(tmp_path / "corpus")
    bring(corpus, "a", "jsonl", file)
    with pytest.raises(DataError, match=r"other inputs \(url\)"):
        bring(corpus, "a", "jsonl", file, url="")
    file.write_text(json.dumps({"text": TEXTS[1]}))
    with pytest.raises(DataError, match=r"other inputs \(a.jsonl\)"):
        bring(corpus, "a", "jsonl", file)
    with pytest.raises(DataError, match="holds no wet file"):
        bring(corpus, "b", "wet", tmp_path)


def test_a_damaged_record_of_a_finished_import_is_named_and_nothing_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"text": TEXTS[0]}))
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "jsonl", file)
    (record,) = (increment.path / "extract").glob("*.json")
    record.write_bytes(record.read_bytes()[:-9])
    before = set(corpus.root.rglob("*"))
    with pytest.raises(DataError, match=f"{record.name}: "):
        bring(corpus, "a", "jsonl", file)
    assert set(corpus.root.rglob("*")) == before


def test_a_value_that_python_cannot_hold_costs_no_other(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 lose their row; a date after 9999 or with nanoseconds only itself."""
    good, bad = TEXTS[0].encode(), b"caf\xe9 " * 20
    offsets = pa.array([0, len(bad), len(bad) + len(good)], pa.int32()).buffers()[1]
    texts = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(bad + good)])
    dates = pa.array([1, 2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"text": texts, "date": dates}), tmp_path / "bad.parquet")
    precise = {"text": TEXTS[1:3], "date": pa.array([1, 1_000], pa.timestamp("ns", tz="Nowhere/At_All"))}
    pq.write_table(pa.table(precise), tmp_path / "precise.parquet")
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "parquet", tmp_path / "bad.parquet", tmp_path / "precise.parquet")
    assert [row["text"] for row in documents(corpus, increment)] == [text.strip() for text in TEXTS[:3]]
    assert total(increment) == (4, 3, {"bad_record": 1})


def test_one_bad_file_of_a_folder_costs_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.parquet").write_bytes(b"PAR1 this is none")
    pq.write_table(pa.table({"body": [TEXTS[0]]}), folder / "b.parquet")
    pq.write_table(pa.table({"text": [TEXTS[1]]}), folder / "c.parquet")
    (folder / "a.wet").write_bytes(b"no such thing")
    (folder / "b.wet").write_bytes(b"")
    block = TEXTS[2].encode()
    (folder / "c.wet").write_bytes(
        b"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://a.test/\r\n"
        b"WARC-Date: 2013-08-01T00:00:00Z\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n" % (len(block), block)
    )
    corpus = make(tmp_path / "corpus")
    rows, pages = bring(corpus, "a", "parquet", folder), bring(corpus, "b", "wet", folder)
    assert [row["text"] for row in documents(corpus, rows) + documents(corpus, pages)] == [
        text.strip() for text in TEXTS[1:3]
    ]
    why = [(each.path, str(each.stopped)) for each in damage(rows) + damage(pages)]
    assert [path for path, _ in why] == ["a.parquet", "b.parquet", "a.wet", "b.wet"]
    assert "cannot be read as Parquet" in why[0][1]
    assert why[1][1] == "has no column 'text'; name the one with the text by --text-field: body"
    assert why[2][1] == "holds no WARC record, plain or gzipped"
    assert why[3][1] == "holds nothing"


def test_line_ends_of_every_system_give_the_same_text(tmp_path: Path) -> None:
    lines = [TEXTS[0], "", TEXTS[1], TEXTS[2]]
    for name, end in ("unix", "\n"), ("windows", "\r\n"), ("mac", "\r"):
        (tmp_path / f"{name}.txt").write_bytes(end.join(lines).encode())
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "\r\n".join(lines)}))
    corpus = make(tmp_path / "corpus")
    found = documents(corpus, bring(corpus, "a", "text", tmp_path))
    found += documents(corpus, bring(corpus, "b", "jsonl", tmp_path))
    assert [row["text"] for row in found] == ["\n".join(lines).strip()] * 4
    assert len({row["text_key"] for row in found}) == 1


def test_a_robots_txt_is_no_document(tmp_path: Path) -> None:
    urls = ["http://a.test/robots.txt", "http://a.test/robots.txt?page=1", "http://a.test/on/robots.txt"]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps({"url": url, "text": TEXTS[0]}) for url in urls))
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", "jsonl", tmp_path / "x.jsonl")
    assert total(increment) == (3, 1, {"robots_txt": 2})
    assert documents(corpus, increment)[0]["url"] == urls[2]


def test_a_file_whose_name_makes_no_name_of_an_increment_is_imported(tmp_path: Path) -> None:
    corpus = make(tmp_path / "corpus")
    for name in ("~", "My books (1).txt"):
        (tmp_path / name).write_text(TEXTS[0])
        assert run("corpus", "import", corpus.root, tmp_path / name, "--kind", "text").returncode == 0
    assert [increment.name for increment in corpus.increments()] == ["text", "My-books-1"]


@pytest.mark.parametrize("name", [b"caf\xe9.txt", b"two\nlines.txt"])
def test_a_file_whose_name_cannot_be_printed_is_refused_before_anything_is_made(
    tmp_path: Path, name: bytes
) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / os.fsdecode(name)).write_text(TEXTS[0])
    corpus = make(tmp_path / "corpus")
    with pytest.raises(DataError, match="cannot be printed; rename"):
        bring(corpus, "a", "text", folder)
    assert corpus.increments() == []
