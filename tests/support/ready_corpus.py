"""Corpora of ready documents for tests: what `links` and `extract` would have committed, then real stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from dataprep import ingest
from dataprep.corpus.directory import Corpus, Facts, Increment
from dataprep.corpus.recipe import NearDuplicates, Recipe, Select
from dataprep.crawl import rounds
from dataprep.extract import stage as extract
from dataprep.links import karma
from dataprep.score import stage as score
from dataprep.steps import BY_NAME
from dataprep.store.files import publish_table
from dataprep.store.records import Record, StepFile, commit, finish_led, load_step, step_path
from dataprep.store.step import LocalPool, run_step
from dataprep.text import minhash

Page = tuple[int, str, str]
"""(first_seen, url, text)"""


def make_corpus(root: Path, near: NearDuplicates | None = None, **select: Any) -> Corpus:
    """An empty corpus; by default near duplicates are dropped at a Jaccard similarity of 0.8."""
    chosen = Select(near_duplicates=near or NearDuplicates(), **select)
    return Corpus.create(root, Recipe(name="test", select=chosen))


def add_pages(
    corpus: Corpus,
    name: str,
    pages: list[Page],
    parts: int = 1,
    only_sign: bool = False,
    lost: Sequence[str] | None = None,
) -> None:
    """Add a closed increment whose documents are these pages, in so many partitions.

    only_sign: measure nothing but the signature, when thousands are added and no threshold is set.
    lost: the pages were crawled, and other links ended with these outcomes.
    """
    increment = corpus.increment(name)
    rows = [document_row(*page) for page in pages]
    for part in range(parts):
        commit_part(corpus, increment, "extract", part, rows[part::parts], extract.SCHEMA)
        if only_sign:
            _sign(corpus, increment, part, rows[part::parts])
    links = [{"url_key": row["url_key"], "url": row["url"], "submissions": []} for row in rows]
    for outcome in lost or ():
        url = f"http://{outcome}.test/"
        links.append({"url_key": xxhash.xxh3_128_digest(url.encode()), "url": url, "submissions": []})
    if lost is not None:
        ended = ["ok"] * len(rows) + [*lost]
        fetches = [{**link, "outcome": outcome} for link, outcome in zip(links, ended, strict=True)]
        commit_part(corpus, increment, "fetch", 0, fetches, rounds.SCHEMA, Counter(lost))
    commit_part(corpus, increment, "links", 0, links, karma.SCHEMA)
    finish_led(increment.path, "extract", {})
    if not only_sign:
        run_step(BY_NAME["score"], Facts(corpus, increment), LocalPool(1), no_progress)
    ingest.close(increment)


def enter_links(
    corpus: Corpus, name: str, dumps: list[Path], workers: int = 1, allow_truncated: bool = False
) -> StepFile:
    """Do the steps from dumps to links for an increment, and leave it open."""
    increment = corpus.increment(name)
    ingest.enter_links(corpus, increment, dumps, workers, no_progress, allow_truncated)
    return load_step(step_path(increment.path, "links"))


@contextmanager
def no_progress(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar that nobody sees."""
    yield lambda _: None


def _sign(corpus: Corpus, increment: Increment, part: int, rows: list[dict[str, Any]]) -> None:
    scores = []
    for row in rows:
        shingles = minhash.shingles(row["text"])
        signature = minhash.signature(shingles).tobytes()
        scores.append({"doc_id": row["doc_id"], "shingles": len(shingles), "signature": signature})
    commit_part(corpus, increment, "score", part, scores, score.SCHEMA)


def document_row(seen: int, url: str, text: str) -> dict[str, Any]:
    return {
        "doc_id": xxhash.xxh3_128_digest(f"{url}\0{text}".encode()),
        "url_key": xxhash.xxh3_128_digest(url.encode()),
        "text_key": xxhash.xxh3_128_digest(text.encode()),
        "url": url,
        "site": "example.test",
        "text": text,
        "karma": 3,
        "first_seen": seen,
    }


TABLES = {"links": "links", "fetch": "fetches", "extract": "documents", "score": "scores"}
"""The output of each step that holds its rows."""


def commit_part(
    corpus: Corpus,
    increment: Increment,
    step: str,
    part: int,
    rows: list[dict[str, Any]],
    schema: pa.Schema,
    reasons: Counter[str] | None = None,
) -> Record:
    """Commit a part of a step that holds these rows, as the step itself would."""
    name, directory = f"part-{part:05d}", increment.path / step
    output = publish_table(corpus.root, directory, name, pa.Table.from_pylist(rows, schema=schema))
    record = Record(
        step=step,
        part=name,
        outputs={TABLES[step]: output},
        entered=len(rows),
        passed=len(rows) - (reasons or Counter()).total(),
        reasons=dict(reasons or {}),
        versions=score.versions(corpus) if step == "score" else {},
    )
    return commit(directory / f"{name}.json", record)
