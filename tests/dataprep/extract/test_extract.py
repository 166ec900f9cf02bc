"""The step: a partition's pages become documents or counted reasons, and no page costs its neighbours."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from msgspec.structs import replace

from dataprep import ingest
from dataprep.audit.trace import trace
from dataprep.corpus.directory import Corpus, Facts, Increment
from dataprep.corpus.recipe import Collect, Extraction, Recipe
from dataprep.corpus.urls import canonical
from dataprep.crawl import rounds
from dataprep.extract import stage as extract
from dataprep.imports.rows import Fields
from dataprep.links import karma
from dataprep.steps import BY_NAME
from dataprep.store import files
from dataprep.store.files import publish_table, read_table
from dataprep.store.records import Record, finish_led, load_step, recommit, step_path, sum_up
from dataprep.store.step import LocalPool, make_part, plan_step, remove_step, run_step
from dataprep.warc.gzip_members import deflated
from support.ready_corpus import commit_part, no_progress

P = "<p>Page {0}: the harbour of the old town is quiet in winter, and the boats lie still. {0}</p>"
SLOW = f"<p {' '.join(f'a{number}=1' for number in range(100_000))}>x</p>"
PAGES = {
    "good": P * 9,
    "slow": SLOW,
    "empty": "",
    "plain": P * 9,
    "many": P * 401,
    "deep": "<div>" * 300 + P + "</div>" * 300,
    "damaged": P * 9,
    "last": P * 9,
}
REASONS = {"timed_out": 1, "no_text": 1, "too_many_elements": 1, "too_deep": 1, "damaged_record": 1}


@pytest.fixture
def increment(tmp_path: Path) -> tuple[Corpus, Increment]:
    """An increment whose crawl brought PAGES, one of them slow and one of them damaged on the disk."""
    extraction = Extraction(cpu_seconds=1, max_elements=400)
    corpus = Corpus.create(tmp_path, Recipe(name="test", collect=Collect(extraction=extraction)))
    increment = corpus.increment("a")
    pages = increment.path / "pages"
    pages.mkdir()
    warc = pages / "part-0000-00000.warc.gz"
    content = b""
    rows: list[dict[str, Any]] = []
    for name, inner in PAGES.items():
        url = f"http://{name}.test/"
        type_ = "text/plain" if name == "plain" else "text/html"
        html = f"<html><head><title>{name}</title></head><body>{inner.format(name)}</body></html>"
        block = f"HTTP/1.1 200 OK\r\nContent-Type: {type_}\r\n\r\n{html}"
        fields = f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: {url}"
        member = deflated(f"{fields}\r\nContent-Length: {len(block)}\r\n\r\n{block}\r\n\r\n".encode())
        if name == "damaged":
            member = member[:40] + bytes(64) + member[104:]
        place = {"warc_file": str(warc.relative_to(tmp_path)), "warc_offset": len(content)}
        link = {
            "url": url,
            "url_key": canonical(url).key,
            "site": f"{name}.test",
            "karma": 5,
            "first_seen": 7,
        }
        rows.append({**link, "outcome": "ok", "warc_length": len(member), **place})
        content += member
    warc.write_bytes(content)
    lost = {**rows[0], "url_key": bytes(16), "outcome": "dns_error", "warc_file": "", "warc_length": 0}
    for name, schema, table in (
        ("links", karma.SCHEMA, [{**row, "submissions": []} for row in rows]),
        ("fetch", rounds.SCHEMA, [*rows, lost]),
    ):
        commit_part(corpus, increment, name, 0, table, schema)
    for name in ("links", "retry", "fetch"):
        finish_led(increment.path, name, {})
    return corpus, increment


def run(corpus: Corpus, increment: Increment, children: int) -> Record:
    step, scope = BY_NAME["extract"], Facts(corpus, increment)
    (part,) = plan_step(step, scope).parts
    ticks: list[int] = []
    record = make_part(step, scope, part.name, children, ticks.append)
    assert sum(ticks) == part.size == len(PAGES)
    return record


@pytest.mark.slow(3)
def test_every_page_is_a_document_or_one_reason(increment: tuple[Corpus, Increment]) -> None:
    corpus, _ = increment
    record = run(*increment, children=1)
    assert record.reasons == REASONS
    assert (record.entered, record.passed) == (len(PAGES), 3)
    assert record.versions.keys() == {"extract", "unicode", *extract.LIBRARIES}
    rows = {row["title"]: row for row in read_table(corpus.root, [record.outputs["documents"]]).to_pylist()}
    assert list(rows) == ["good", None, "last"]
    good = rows["good"]
    assert good["text"].startswith("Page good: the harbour")
    assert good["doc_id"] == xxhash.xxh3_128_digest(good["url_key"] + good["text"].encode())
    assert good["text_key"] == xxhash.xxh3_128_digest(good["text"].encode())
    assert (good["url"], good["site"], good["karma"], good["first_seen"]) == (
        "http://good.test/",
        "good.test",
        5,
        7,
    )


@pytest.mark.slow(2)
def test_a_page_that_is_lost_is_named_with_its_reason(increment: tuple[Corpus, Increment]) -> None:
    corpus, _ = increment
    run(*increment, children=1)
    told = {}
    for name in PAGES:
        (fetched,) = trace(corpus, f"http://{name}.test/")["fetches"]
        told[name] = fetched["no_document"]
    lost = {"slow": "timed_out", "empty": "no_text", "many": "too_many_elements", "deep": "too_deep"}
    assert told == dict.fromkeys(PAGES) | lost | {"damaged": "damaged_record"}


@pytest.mark.slow(2)
def test_how_many_children_work_changes_no_byte(increment: tuple[Corpus, Increment]) -> None:
    one = run(*increment, children=1)
    (increment[1].path / "extract" / "part-00000.json").unlink()
    two = run(*increment, children=2)
    assert one == two
    assert one == run(*increment, children=2), "what is done is not done again"


@pytest.mark.slow(2)
def test_identity_is_content_never_position(increment: tuple[Corpus, Increment]) -> None:
    corpus, _ = increment
    rows = read_table(corpus.root, [run(*increment, children=1).outputs["documents"]]).to_pylist()
    assert len({row["doc_id"] for row in rows}) == len({row["text_key"] for row in rows}) == 3


def test_partitions_are_in_warc_order_and_full(tmp_path: Path) -> None:
    """Against the plain way: links that are fetched twice, or share a record, in several tables."""
    corpus = Corpus.create(tmp_path, Recipe(name="test", collect=Collect(partition_mb=0.0071235)))
    increment, dice = corpus.increment("a"), random.Random(7)
    scope, saved = Facts(corpus, increment), dict[str, Any]()
    assert extract.plan(scope, saved.__setitem__) == []
    assert not saved
    last: dict[bytes, dict[str, Any]] = {}
    for number in range(4):
        rows = [
            {
                "url_key": dice.randbytes(1) * 16,
                "outcome": dice.choice(["ok", "ok", "dns_error"]),
                "warc_file": f"pages/part-{dice.randrange(12)}.warc.gz",
                "warc_offset": dice.randrange(4),
                "warc_length": dice.randrange(3000),
            }
            for _ in range(150 * number)
        ]
        last |= {row["url_key"]: row for row in rows if row["outcome"] == "ok"}
        commit_part(corpus, increment, "fetch", number, rows, rounds.SCHEMA)
    plan = extract.plan(scope, saved.__setitem__)
    (places,) = saved.values()
    runs = [places[part.spec["start"] : part.spec["end"]] for part in plan]
    parts = [extract._pages(corpus, increment, run) for run in runs]
    pages = [page for part in parts for page in part]
    assert pages == sorted(last.values(), key=lambda row: (row["warc_file"], row["warc_offset"]))
    for part, after in pairwise(parts):
        sizes = [page["warc_length"] for page in part]
        assert sum(sizes[:-1]) < 7123.5 <= sum(sizes)
        assert after
    assert [part.size for part in plan] == [len(part) for part in parts]
    assert places.nbytes == 8 * len(pages)


@pytest.mark.slow(4)
def test_what_another_version_extracted_is_made_anew_until_the_increment_is_closed(
    increment: tuple[Corpus, Increment], tmp_path_factory: pytest.TempPathFactory
) -> None:
    warc = increment[0].root / increment[1].path / "pages" / "part-0000-00000.warc.gz"
    corpora = [
        Corpus.create(tmp_path_factory.mktemp(name), increment[0].recipe) for name in ("upgraded", "fresh")
    ]

    def bring(corpus: Corpus) -> Increment:
        return ingest.bring(corpus, "b", "warc", [warc], Fields(), None, 1, no_progress)

    def facts(increment: Increment) -> list[Record]:
        return increment.records("extract") + increment.records("score")

    with pytest.MonkeyPatch.context() as older:
        older.setattr(extract, "VERSION", 0)
        older.setattr(ingest, "close", _killed)
        with pytest.raises(KeyboardInterrupt):
            bring(corpora[0])
    (open_one,) = corpora[0].increments()
    _as_if_older(corpora[0], open_one)
    upgraded, fresh = bring(corpora[0]), bring(corpora[1])
    assert facts(upgraded) == facts(fresh)
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(extract, "VERSION", 2)
        assert facts(bring(corpora[0])) == facts(fresh), "a closed increment keeps the documents of its time"


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def _as_if_older(corpus: Corpus, increment: Increment) -> None:
    """Documents and scores as an extractor would have left them that lost every page's title and end."""
    (record,) = increment.records("extract")
    rows = read_table(corpus.root, [record.outputs["documents"]]).to_pylist()
    assert record.versions["extract"] == "0"
    assert rows
    short = [{**row, "title": None, "text": row["text"][:100]} for row in rows]
    directory = increment.path / "extract"
    output = publish_table(
        corpus.root, directory, record.part, pa.Table.from_pylist(short, schema=extract.SCHEMA)
    )
    older = replace(record, outputs={"documents": output}, origin="")
    recommit(directory / f"{record.part}.json", older)
    path = step_path(increment.path, "extract")
    whole = load_step(path)
    files.replace(path, sum_up(whole.step, whole.inputs, whole.versions, [older]))
    scope = Facts(corpus, increment)
    remove_step(BY_NAME["score"], scope)
    run_step(BY_NAME["score"], scope, LocalPool(1), no_progress)
