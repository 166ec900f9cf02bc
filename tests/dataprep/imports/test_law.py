"""What an import keeps does not depend on how its documents were split between dates into imports."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.warcwriter import WARCWriter

from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.imports.dates import seconds
from dataprep.imports.rows import Fields
from dataprep.store.files import read_table
from support.cli import Ended, run
from support.ready_corpus import make_corpus, no_progress
from support.servers.pywb import write_warc

Document = tuple[int, str, str]
"""(first_seen, url, text)"""

DAY = 86_400
START = seconds("2013-08-01")
COPIES = [0, 1, 1, 2, 0, 3, 2, 1, 4, 0, 3, 4]
"""Which of five texts each document has, nearly."""


def documents() -> list[Document]:
    """Near copies, one a day, under URLs whose keys are in no order, the latest first."""
    found = []
    for day, which in enumerate(COPIES):
        words = [f"w{n}" for n in np.random.default_rng(which).integers(0, 5000, 120)]
        found.append(
            (START + day * DAY, f"http://s{day}.test/", " ".join([*words[:117], f"x{day}", "y", "z"]))
        )
    return found[::-1]


def stamp(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_jsonl(path: Path, given: list[Document]) -> None:
    rows = [{"url": url, "text": text, "date": stamp(seen)} for seen, url, text in given]
    path.write_text("\n".join(map(json.dumps, rows)))


def as_parquet(path: Path, given: list[Document]) -> None:
    seen, urls, texts = zip(*given, strict=True)
    dates = pa.array([moment * 1000 for moment in seen], pa.timestamp("ms"))
    pq.write_table(pa.table({"url": urls, "text": texts, "date": dates}), path)


def as_warc(path: Path, given: list[Document]) -> None:
    html = {"Content-Type": "text/html"}
    page = "<html><body><article><p>{}</p></article></body></html>"
    captures = [
        (url, stamp(seen).translate(str.maketrans("", "", "-T:Z")), 200, html, page.format(text).encode())
        for seen, url, text in given
    ]
    write_warc(path, captures)


def as_wet(path: Path, given: list[Document]) -> None:
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for seen, url, text in given:
            dated = {"WARC-Date": stamp(seen)}
            record = writer.create_warc_record(
                url,
                "conversion",
                BytesIO(text.encode()),
                warc_headers_dict=dated,
                warc_content_type="text/plain",
            )
            writer.write_record(record)


def kept(corpus: Corpus) -> set[str]:
    """The URLs of the kept documents."""
    build = corpus.current_build()
    outputs = [part.outputs["verdicts"] for part in build.parts("verdicts")]
    keys = {
        row["url_key"] for row in read_table(corpus.root, outputs).to_pylist() if row["verdict"] == "kept"
    }
    found = [
        row
        for increment in corpus.increments()
        for row in read_table(corpus.root, increment.outputs("extract", "documents")).to_pylist()
    ]
    return {row["url"] for row in found if row["url_key"] in keys}


DOORS = {"jsonl": as_jsonl, "parquet": as_parquet, "warc": as_warc, "wet": as_wet}


@pytest.mark.slow(3)
@pytest.mark.parametrize(("kind", "write"), DOORS.items())
def test_imports_split_between_dates_keep_what_one_import_keeps(
    tmp_path: Path, kind: str, write: Callable[[Path, list[Document]], None]
) -> None:
    given = documents()
    once, split = make_corpus(tmp_path / "once"), make_corpus(tmp_path / "split")
    parts = {"all": (once, given), "one": (split, given[7:]), "two": (split, given[:7])}
    for name, (corpus, some) in parts.items():
        write(tmp_path / name, some)
        ingest.bring(corpus, name, kind, [tmp_path / name], Fields(), None, 1, no_progress)
    first = {which: COPIES.index(which) for which in set(COPIES)}
    assert kept(once) == kept(split) == {f"http://s{day}.test/" for day in first.values()}


def bring(root: Path, name: str, *options: str) -> Ended:
    return run(
        "corpus", "import", root, root.parent / f"{name}.txt", "--kind", "text", "--workers", "1", *options
    )


@pytest.mark.slow(3)
def test_the_date_of_an_import_dates_what_has_none(tmp_path: Path) -> None:
    """Of two nearly equal books the earlier one stays. Without dates it is the one imported first."""
    early, late = (text for _, _, text in sorted(documents()) if " x1 " in text or " x2 " in text)
    (tmp_path / "early.txt").write_text(early)
    (tmp_path / "late.txt").write_text(late)
    dated, undated = make_corpus(tmp_path / "dated"), make_corpus(tmp_path / "undated")
    bring(dated.root, "late", "--date", "2013-08-02")
    (row,) = read_table(dated.root, dated.increments()[0].outputs("extract", "documents")).to_pylist()
    assert row["first_seen"] == seconds("2013-08-02")
    for name in ("late", "early"):
        bring(undated.root, name)
    assert kept(undated) == {"file:late.txt#1"}
    refused = run("corpus", "import", dated.root, tmp_path / "late.txt", "--kind", "text", "--name", "late")
    assert refused.returncode == 1
    assert "was begun with other inputs (--date)" in refused.stderr


@pytest.mark.slow(2)
def test_in_one_import_what_has_no_date_is_earlier_than_what_has_one(tmp_path: Path) -> None:
    (_, _, one), (_, _, other) = sorted(documents())[1:3]
    rows = [
        {"text": one, "date": "2013-08-01", "url": "http://a.test/"},
        {"text": other, "url": "http://b.test/"},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for number, (options, stays) in enumerate([((), "b"), (("--date", "2014"), "a")]):
        corpus = make_corpus(tmp_path / f"corpus{number}")
        run("corpus", "import", corpus.root, tmp_path / "rows.jsonl", "--kind", "jsonl", *options)
        assert kept(corpus) == {f"http://{stays}.test/"}


def test_a_date_that_is_none_is_refused(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    (tmp_path / "x.txt").write_text("x")
    assert "--date soon: is no date; give one such as" in bring(corpus.root, "x", "--date", "soon").stderr


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("1813-01-28", -4_952_102_400),
        ("1969-12-31T23:59:59.5Z", -1),
        (1375315200.9, 1375315200),
        (1375315200123456, 1375315200),
        ("1375315200", 1375315200),
        ("20130801000000", 1375315200),
        (2013, 1356998400),
        ("2013", 1356998400),
        (float("nan"), 0),
        (float("inf"), 0),
        (1e300, 0),
        ("9" * 400, 0),
        ("2013-13", 0),
        ("0000", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_dates_of_every_form(date: str | float | None, moment: int) -> None:
    assert seconds(date) == moment
