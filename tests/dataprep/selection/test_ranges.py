"""A build judges its documents range by range, and decides the same with any number of ranges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprep import ingest
from dataprep.audit import gc
from dataprep.audit.diff import compare
from dataprep.audit.funnel import funnel, top_sites
from dataprep.audit.statistics import corpus_statistics
from dataprep.audit.trace import of_document, trace
from dataprep.audit.verify import problems, unknown
from dataprep.corpus import evalsets
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Decontaminate, overridden
from dataprep.corpus.tombstones import Tombstone
from dataprep.errors import DataError
from dataprep.forget import run as forgetting
from dataprep.selection import corpus_order, partition, ranks
from dataprep.selection.near_duplicates import Compared
from dataprep.shards.export import Shape, export
from dataprep.store.files import read_table
from dataprep.store.npy import mapped
from dataprep.store.records import load_record, records_in
from support.ready_corpus import Page, add_pages, make_corpus, no_progress

QUESTION = "which of the two rivers that meet below the old town carries more water in spring"


def text(number: int, edits: int = 0) -> str:
    """A text unlike that of any other number; edits: how many of its 120 words are changed."""
    words = [f"w{n}" for n in np.random.default_rng(number).integers(0, 5000, 120)]
    return " ".join([*words[: 120 - edits], *(f"x{number}y{n}" for n in range(edits))])


def pages(first: int, last: int) -> list[Page]:
    """Every third and every seventh is like one of twelve, and every tenth holds a question."""
    made = []
    for number in range(first, last):
        body = text(number % 12, number % 8) if number % 3 == 0 or number % 7 == 0 else text(number)
        made.append((number // 2, url(number), f"{body} {QUESTION} {body}" if number % 10 == 1 else body))
    return made


def url(number: int) -> str:
    return f"http://a.test/{number}"


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Let ranges have some 8 documents."""
    patch.setattr(corpus_order, "RANGE", 8)
    patch.setattr(corpus_order, "SAMPLE", 2)
    patch.setattr(ranks, "PARTITIONS", 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two increments, of 40 documents and of 20. Left as it is."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        return build(tmp_path_factory.mktemp("made") / "corpus")


@pytest.fixture
def corpus(made: Corpus, tmp_path: Path) -> Corpus:
    shutil.copytree(made.root, tmp_path / "corpus")
    return Corpus.open(tmp_path / "corpus")


def build(root: Path, **select: Any) -> Corpus:
    corpus = make_corpus(root, shard_mb=0.004, **select)
    add_pages(corpus, "one", pages(0, 40), parts=3)
    add_pages(corpus, "two", pages(40, 60), parts=2)
    ingest.extend(corpus, 1, no_progress)
    return corpus


def parts_of(corpus: Corpus) -> list[int]:
    """How many ranges each increment has."""
    made = corpus.current_build()
    return [len(made.parts("verdicts", increment)) for increment in corpus.increments()]


def verdicts(corpus: Corpus) -> list[dict[str, Any]]:
    made = corpus.current_build()
    outputs = [part.outputs["verdicts"] for part in made.parts("verdicts")]
    return read_table(corpus.root, outputs).to_pylist()


def tables(corpus: Corpus) -> list[Any]:
    """The verdicts and the catalogue of each increment, and how many pairs were compared."""
    found: list[Any] = []
    for increment in corpus.increments():
        made = corpus.current_build()
        found.append(read_table(corpus.root, made.outputs("verdicts", "verdicts", increment)).to_pylist())
        catalogues = made.outputs("verdicts", "catalogue", increment)
        found.append(b"".join(mapped(corpus.root / each.path).tobytes() for each in catalogues))
        found.append(
            sum(part.noted(Compared).compared for part in records_in(made.of(increment) / "verdicts"))
        )
    return found


def files(corpus: Corpus) -> dict[str, bytes]:
    """The other files of decisions, by name: bands, what was cut, tars and their indexes."""
    made = corpus.current_build()
    found = [
        path
        for pattern in ("*/index/*.bands", "*/decontaminate/*.parquet", "*/shard/*[!n]")
        for path in made.path.glob(pattern)
    ]
    return {str(path.relative_to(made.path)): path.read_bytes() for path in found}


@pytest.mark.slow(3)
def test_many_ranges_decide_byte_for_byte_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "rivers.txt").write_text(QUESTION)
    content = evalsets.content(evalsets.hashes(tmp_path / "evals"))
    rules = Decontaminate(sets=str(tmp_path / "evals"), content=content, min_piece=50)
    one = build(tmp_path / "one", decontaminate=rules)
    make_small(monkeypatch)
    many = build(tmp_path / "many", decontaminate=rules)
    assert parts_of(one) == [1, 1]
    assert min(parts_of(many)) > 2
    assert tables(many) == tables(one)
    assert {Path(name).suffix for name in files(one)} == {".bands", ".parquet", ".tar", ".npy"}
    assert files(many) == files(one)
    reasons = {row["verdict"] for row in verdicts(many)}
    assert reasons == {"kept", "exact_duplicate", "near_duplicate"}


def test_partitions_that_are_alike_in_time_make_ranges_of_about_one_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corpus_order, "RANGE", 1 << 15)
    rng = np.random.default_rng(1)
    partitions = [np.zeros(2000, partition.DOCUMENT) for _ in range(200)]
    for rows in partitions:
        rows["first_seen"] = np.sort(rng.integers(0, 1 << 20, len(rows)))
    bounds = [seen for seen, _, _ in corpus_order.bounds(partitions)]
    sizes, _ = np.histogram(
        np.concatenate([rows["first_seen"] for rows in partitions]), [0, *bounds, 1 << 20]
    )
    assert len(sizes) == 13
    assert sizes.max() < 1.5 * (1 << 15)
    assert sizes[:-1].min() > 0.5 * (1 << 15)


@pytest.mark.slow(1)
@pytest.mark.parametrize("output", ["verdicts", "catalogue"])
def test_damage_of_a_later_range_is_named(corpus: Corpus, output: str) -> None:
    assert list(problems(corpus)) == []
    made = corpus.current_build()
    path = corpus.root / made.outputs("verdicts", output, corpus.increments()[0])[1].path
    path.write_bytes(path.read_bytes()[:-1])
    (line,) = problems(corpus)
    assert path.name in line


@pytest.mark.slow(1)
def test_a_range_whose_record_is_lost_is_named_and_nothing_is_offered_for_removal(corpus: Corpus) -> None:
    assert gc.find(corpus) == []
    record = corpus.current_build().of(corpus.increments()[0]) / "verdicts" / "00001.json"
    record.unlink()
    assert any("verdicts/00001.json: missing" in line for line in problems(corpus))
    with pytest.raises(DataError, match=r"verdicts/00001.json: is missing"):
        gc.find(corpus)


@pytest.mark.slow(1)
def test_a_document_is_forgotten_in_its_range_alone_and_still_displaces_later_ones(corpus: Corpus) -> None:
    made, increment = corpus.current_build(), corpus.increments()[0]
    directory = made.of(increment) / "verdicts"
    before = {path.name: path.read_bytes() for path in directory.glob("*.json")}
    gone = next(
        row
        for row in pq.read_table(
            corpus.root / made.outputs("verdicts", "verdicts", increment)[2].path
        ).to_pylist()
        if row["verdict"] == "kept"
    )
    address = of_document(corpus, gone["doc_id"])["url"]
    body = next(body for _, other, body in pages(0, 40) if other == address)
    forgetting.begin(corpus, Tombstone(url_keys=[gone["url_key"].hex()]))
    forgetting.finish(corpus, lambda _: None)
    corpus = Corpus.open(corpus.root)
    after = {path.name: path.read_bytes() for path in directory.glob("*.json")}
    assert {name for name in after if after[name] != before[name]} == {"00002.json"}
    assert load_record(directory / "00002.json").reasons["forgotten"] == 1
    add_pages(corpus, "three", [(99, url(99), body), (100, url(100), text(10, 2))])
    ingest.extend(corpus, 1, no_progress)
    copy, near = verdicts(corpus)[-2:]
    assert (copy["verdict"], copy["repeats"]) == ("exact_duplicate", gone["doc_id"])
    assert near["verdict"] == "near_duplicate"
    assert list(problems(corpus)) == []
    assert unknown(corpus) == []


@pytest.mark.slow(1)
def test_reports_and_exports_are_of_all_ranges(corpus: Corpus, tmp_path: Path) -> None:
    rows = verdicts(corpus)
    kept = [row for row in rows if row["verdict"] == "kept"]
    last = {stage.stage: stage for stage in funnel(corpus.root)}
    assert (last["select"].entered, last["dedup"].passed) == (60, len(kept))
    assert top_sites(corpus.root, 3) == [("example.test", len(kept))]
    growth = corpus_statistics(corpus).growth
    assert [(each.documents, each.kept) for each in growth] == [
        (each, sum(row["verdict"] == "kept" for row in here))
        for each, here in ((40, rows[:40]), (20, rows[40:]))
    ]
    assert [trace(corpus, row["doc_id"].hex())["verdict"] for row in rows[:40:13]] == [
        row["verdict"] for row in rows[:40:13]
    ]
    manifest = export(corpus, corpus.current_build(), tmp_path / "out", Shape("jsonl"), 1, no_progress)
    texts = [(tmp_path / "out" / file["path"]).read_text() for file in manifest["files"]]
    exported = [json.loads(line)["doc_id"] for lines in texts for line in lines.splitlines()]
    assert sorted(exported) == sorted(row["doc_id"].hex() for row in kept)
    old, recipe = corpus.current_build(), corpus.recipe
    chosen = recipe.model_copy(update={"select": overridden(recipe.select, ["min_words=125"])})
    new = ingest.extend(Corpus(corpus.root, chosen), 1, no_progress)
    counts = compare(corpus, old, new, 1).counts
    assert sum(counts.values()) == 60
    assert sum(number for (before, _), number in counts.items() if before == "kept") == len(kept)
