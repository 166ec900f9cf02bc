"""Deduplication: what the rule finds, that only the past decides, that it stays linear and restartable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataprep import ingest
from dataprep.corpus.directory import Build, Corpus
from dataprep.corpus.recipe import NearDuplicates
from dataprep.errors import DataError
from dataprep.selection import candidates, corpus_order, near_duplicates, shingles
from dataprep.selection.bands import Buckets, Scheme, load
from dataprep.selection.near_duplicates import Compared
from dataprep.selection.workspace import ENTRY
from dataprep.store.files import read_table
from dataprep.store.records import records_in
from dataprep.text import minhash
from support.patience import patient
from support.ready_corpus import Page, add_pages, make_corpus, no_progress

REPOSITORY = Path(__file__).parents[3]
KILLED_AND_BEGUN_AGAIN = """
import os, signal, sys
from pathlib import Path
from support.ready_corpus import no_progress
from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.store import records, step
from support.kills import killed

write_once = records.write_once

def write_once_and_die(path, content):
    write_once(path, content)
    os.kill(os.getpid(), signal.SIGKILL)

records.write_once = step.write_once = write_once_and_die  # a plan, a record or a step file stands now
kills = 0
while killed(ingest.extend, Corpus.open(Path(sys.argv[1])), 1, no_progress):
    kills += 1
print(kills)
"""


def text(seed: int, words: int = 120) -> list[str]:
    return [f"w{n}" for n in np.random.default_rng(seed).integers(0, 5000, words)]


def edited(seed: int, edits: int, words: int = 120) -> str:
    """The text of a seed with its last words changed: of 120 words, edits=4 gives J = 0.93."""
    return " ".join([*text(seed, words)[: words - edits], *(f"x{seed}y{n}" for n in range(edits))])


def rows(corpus: Corpus, workers: int = 1) -> list[dict[str, object]]:
    """The verdicts of the current build, extended first."""
    build = ingest.extend(corpus, workers, no_progress)
    outputs = [part.outputs["verdicts"] for part in build.parts("verdicts")]
    return [row for output in outputs for row in pq.read_table(corpus.root / output.path).to_pylist()]


def contents(corpus: Corpus, build: Build) -> list[pa.Table]:
    """The verdicts on each increment, in whatever number of parts."""
    tables = [build.outputs("verdicts", "verdicts", increment) for increment in corpus.increments()]
    return [read_table(corpus.root, outputs) for outputs in tables]


def compared(corpus: Corpus) -> int:
    """How many pairs the last increment had compared."""
    records = records_in(corpus.current_build().of(corpus.increments()[-1]) / "verdicts")
    return sum(record.noted(Compared).compared for record in records)


def kept(corpus: Corpus) -> set[bytes]:
    return {row["url_key"] for row in rows(corpus) if row["verdict"] == "kept"}  # type: ignore[misc]


def built(corpus: Corpus) -> dict[str, bytes]:
    """All files of a corpus's builds."""
    builds = corpus.root / "builds"
    return {str(path.relative_to(builds)): path.read_bytes() for path in builds.rglob("*") if path.is_file()}


@pytest.mark.slow(7)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0, 3, 6, 9, 12, 30])), min_size=2, max_size=16
    ),
    cuts=st.sets(st.integers(0, 16), max_size=3),
    parts=st.integers(1, 3),
)
def test_any_chronological_split_into_any_partitions_keeps_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[int, int]], cuts: set[int], parts: int
) -> None:
    pages: list[Page] = [(n // 2, f"u{n}", edited(*each)) for n, each in enumerate(texts)]
    once = make_corpus(tmp_path_factory.mktemp("once"))
    add_pages(once, "all", pages, only_sign=True)
    split = make_corpus(tmp_path_factory.mktemp("split"))
    bounds = [0, *sorted(2 * cut for cut in cuts), len(pages)]
    for number, (start, end) in enumerate(pairwise(bounds)):
        add_pages(split, f"part{number}", pages[start:end], parts, only_sign=True)
    assert kept(split) == kept(once)


@pytest.mark.slow(2)
def test_the_size_of_tasks_and_the_number_of_workers_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Page] = [(n, f"u{n}", edited(n % 20, n % 7)) for n in range(120)]

    def verdicts_of(name: str, workers: int) -> list[pa.Table]:
        corpus = make_corpus(tmp_path / name)
        add_pages(corpus, "one", pages[:70], 2, only_sign=True)
        add_pages(corpus, "two", pages[70:], 1, only_sign=True)
        return contents(corpus, ingest.extend(corpus, workers, no_progress))

    plain = verdicts_of("plain", 1)
    assert verdicts_of("pool", 2) == plain
    for module, name, size in [
        (candidates, "KEYS_PER_TASK", 600),
        (near_duplicates, "RANGE", 32),
        (near_duplicates, "PAIRS", 20),
        (near_duplicates, "SHINGLES", 2000),
        (shingles, "TEXTS", 8),
        (corpus_order, "RANGE", 8),
        (corpus_order, "SAMPLE", 2),
    ]:
        monkeypatch.setattr(module, name, size)
    assert verdicts_of("small", 1) == plain


@pytest.mark.slow(2)
def test_a_bucket_that_is_cut_between_its_documents_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Page] = [(n, f"u{n}", edited(1, n % 40)) for n in range(80)]

    def verdicts_of(name: str) -> list[pa.Table]:
        corpus = make_corpus(tmp_path / name)
        add_pages(corpus, "one", pages[:50], 3, only_sign=True)
        add_pages(corpus, "two", pages[50:], 2, only_sign=True)
        return contents(corpus, ingest.extend(corpus, 1, no_progress))

    plain = verdicts_of("plain")
    monkeypatch.setattr(candidates, "KEYS_PER_TASK", 24)
    assert verdicts_of("cut") == plain
    sizes = [len(load(path, Scheme(minhash.VERSION, 20, 7)).keys) for path in tmp_path.glob("cut/**/*.bands")]
    assert max(sizes) <= 36


@pytest.mark.slow(2)
def test_killed_after_every_plan_and_every_record_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    pages: list[Page] = [(n, f"u{n}", edited(n % 4, n % 3)) for n in range(24)]
    corpora = [make_corpus(tmp_path / name) for name in ("killed", "whole")]
    for corpus in corpora:
        add_pages(corpus, "one", pages, only_sign=True)
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    command = [sys.executable, "-c", KILLED_AND_BEGUN_AGAIN, str(corpora[0].root)]
    said = subprocess.check_output(command, env={**os.environ, "PYTHONPATH": path}, timeout=patient())
    assert int(said) >= 18  # plan and record of eight steps, and the files of verdicts and shard
    for corpus in corpora:
        rows(corpus)
    assert built(corpora[0]) == built(corpora[1])
    assert not list((corpora[0].root / "builds").glob("*/*/work"))
    assert not (corpora[0].root / "jobs").exists()


def planted(pairs: int) -> tuple[list[Page], list[float]]:
    """Pairs of texts, the second posted later, and their similarity, from 0.6 to 0.95."""
    pages: list[Page] = []
    similarities = []
    for pair in range(pairs):
        edits = 3 + pair % 26
        both = [" ".join(text(pair)), edited(pair, edits)]
        pages += [(which * pairs + pair, f"u{pair}-{which}", each) for which, each in enumerate(both)]
        grams = [{tuple(words[n : n + 5]) for n in range(len(words) - 4)} for words in map(str.split, both)]
        similarities.append(len(grams[0] & grams[1]) / len(grams[0] | grams[1]))
    return pages, similarities


@pytest.mark.slow(2)
def test_of_thousands_of_planted_pairs_it_finds_98_percent_and_drops_none_below(tmp_path: Path) -> None:
    pages, similarities = planted(3000)
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", pages, 2, only_sign=True)
    found = {row["first_seen"]: row for row in rows(corpus)}
    alike = [found[3000 + n]["verdict"] for n, similarity in enumerate(similarities) if similarity >= 0.8]
    other = [found[3000 + n]["verdict"] for n, similarity in enumerate(similarities) if similarity < 0.8]
    assert len(alike) > 1000
    assert len(other) > 1000
    assert alike.count("near_duplicate") >= 0.98 * len(alike)
    assert set(other) == {"kept"}
    assert {found[n]["verdict"] for n in range(3000)} == {"kept"}
    for n, similarity in enumerate(similarities):
        if found[3000 + n]["verdict"] != "kept":
            assert found[3000 + n]["number"] == similarity
            assert found[3000 + n]["repeats"] == found[n]["doc_id"]


def test_it_names_the_earliest_document_that_is_repeated(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    first, second, third = edited(1, 4), edited(1, 2), edited(1, 0)
    add_pages(corpus, "one", [(3, "c", third), (2, "b", second), (1, "a", first)], only_sign=True)
    a, b, c = rows(corpus)
    assert (a["verdict"], b["repeats"], c["repeats"]) == ("kept", a["doc_id"], a["doc_id"])


@pytest.mark.parametrize(("threshold", "verdict"), [(100 / 116, "near_duplicate"), (101 / 116, "kept")])
def test_a_similarity_of_exactly_the_threshold_drops_the_later_document(
    tmp_path: Path, threshold: float, verdict: str
) -> None:
    """The later one is the first 100 of 116 runs of five words: their sizes, too, are at the threshold."""
    corpus = make_corpus(tmp_path, NearDuplicates(threshold=threshold))
    pages: list[Page] = [(1, "a", edited(1, 0)), (2, "b", edited(1, 0, 104))]
    add_pages(corpus, "one", pages, only_sign=True)
    assert [row["verdict"] for row in rows(corpus)] == ["kept", verdict]


def test_the_earliest_of_several_similar_documents_is_named(tmp_path: Path) -> None:
    """The first is less similar than the threshold, and is compared alone; the next two reach it."""
    corpus = make_corpus(tmp_path, NearDuplicates(threshold=0.91))
    other_start = " ".join([*(f"z{n}" for n in range(4)), *text(1)[4:]])
    texts = [edited(1, 12), other_start, edited(1, 2), edited(1, 0)]
    add_pages(corpus, "one", [(n, f"u{n}", each) for n, each in enumerate(texts)], only_sign=True)
    found = rows(corpus)
    assert [row["verdict"] for row in found] == ["kept", "kept", "kept", "near_duplicate"]
    assert (found[3]["repeats"], found[3]["number"]) == (found[1]["doc_id"], 112 / 120)


def test_a_document_that_repeats_a_dropped_one_goes_and_names_it(tmp_path: Path) -> None:
    """Earlier counts, not kept; and nothing is clustered: the third is no repeat where there is no second."""
    first, second = " ".join(text(1)), edited(1, 8)
    third = " ".join([*(f"z{n}" for n in range(8)), *second.split()[8:]])  # J = 0.87 to it, 0.76 to the first
    chain: list[Page] = [(1, "a", first), (2, "b", second), (3, "c", third)]
    whole, gap = (make_corpus(tmp_path / name) for name in ("whole", "gap"))
    add_pages(whole, "one", chain, only_sign=True)
    add_pages(gap, "one", chain[::2], only_sign=True)
    a, b, c = rows(whole)
    assert [row["verdict"] for row in (a, b, c)] == ["kept", "near_duplicate", "near_duplicate"]
    assert (b["repeats"], c["repeats"]) == (a["doc_id"], b["doc_id"])
    assert [row["verdict"] for row in rows(gap)] == ["kept", "kept"]


def test_a_bucket_gives_its_64_earliest_of_all_increments() -> None:
    def bucket(documents: int) -> Buckets:
        return Buckets(np.zeros(documents, np.uint64), np.arange(documents, dtype=np.uint32))

    lists, queries = candidates.candidates([[bucket(50)]], bucket(1000))
    assert lists.tolist() == [*range(50), *(1 << 32 | row for row in range(14))]
    assert queries["count"].tolist() == [*range(50, 64), *[64] * 986]


def test_a_source_of_many_files_is_met_as_one_file_would_be() -> None:
    keys = np.sort(np.random.default_rng(1).integers(0, 99, 400).astype(np.uint64))
    whole = Buckets(keys, np.arange(400, dtype=np.uint32))
    files = [whole.within(low, low + 20) for low in range(0, 120, 20)]  # the last is empty
    own = Buckets(np.arange(0, 120, 3, dtype=np.uint64), np.arange(40, dtype=np.uint32))
    for one, other in zip(
        candidates.candidates([[whole]], own), candidates.candidates([files], own), strict=True
    ):
        assert one.tolist() == other.tolist()


def test_texts_whose_keys_collide_in_part_are_no_copies() -> None:
    catalogue = np.zeros(4, ENTRY)
    catalogue["text_key"] = [bytes([n] * 16) for n in (1, 2, 2, 1)]
    own = Buckets(np.zeros(4, np.uint64), np.arange(4, dtype=np.uint32))
    lists, queries = candidates.candidates([], own)
    found = candidates.copies(lists, queries, [catalogue])
    assert found.tolist() == [(2, 1), (3, 0)]


@pytest.mark.slow(1)
@pytest.mark.parametrize(("threshold", "most"), [(0.8, 2), (0.99, candidates.EARLIEST)])
def test_boilerplate_costs_a_bounded_number_of_comparisons_a_document(
    tmp_path: Path, threshold: float, most: int
) -> None:
    """All but one word is the same everywhere: all documents meet in the same buckets."""
    corpus = make_corpus(tmp_path, NearDuplicates(threshold=threshold))
    pages: list[Page] = [(n, f"u{n}", edited(1, 0, 400) + f" {n}") for n in range(600)]
    pages += [(n, f"empty{n}", "") for n in range(600)]
    pages += [(n, f"same{n}", edited(2, 0)) for n in range(600)]
    add_pages(corpus, "one", pages, only_sign=True)
    verdicts = [row["verdict"] for row in rows(corpus)]
    assert verdicts.count("exact_duplicate") == 2 * 599
    assert 599 <= compared(corpus) <= most * 600


def test_unlike_sizes_are_not_compared(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, NearDuplicates(threshold=0.5))
    once, thrice = text(1, 30), text(1, 30) + text(2, 60)
    add_pages(corpus, "one", [(1, "a", " ".join(once)), (2, "b", " ".join(thrice))], only_sign=True)
    assert {row["verdict"] for row in rows(corpus)} == {"kept"}
    assert compared(corpus) == 0


def test_short_texts_are_dropped_only_as_exact_copies(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    short = ["one two three four", "one two three four", "one two three four!", "", ""]
    add_pages(corpus, "one", [(n, f"u{n}", each) for n, each in enumerate(short)], only_sign=True)
    assert [row["verdict"] for row in rows(corpus)] == [
        "kept", "exact_duplicate", "kept", "kept", "exact_duplicate",
    ]  # fmt: skip


def test_without_near_duplicates_only_exact_copies_are_dropped(tmp_path: Path) -> None:
    made = make_corpus(tmp_path)
    add_pages(made, "one", [(n, f"u{n}", edited(1, n // 2)) for n in range(4)], only_sign=True)
    select = made.recipe.select.model_copy(update={"near_duplicates": None})
    corpus = Corpus(made.root, made.recipe.model_copy(update={"select": select}))
    assert [row["verdict"] for row in rows(corpus)] == ["kept", "exact_duplicate"] * 2


def test_unspaced_scripts_are_compared_by_characters(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    page = "".join(chr(0x4E00 + n) for n in np.random.default_rng(1).integers(0, 2000, 300))
    add_pages(corpus, "one", [(1, "a", page), (2, "b", page[:-5] + "東京都京都")], only_sign=True)
    assert [row["verdict"] for row in rows(corpus)] == ["kept", "near_duplicate"]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Corpus, Corpus]]:
    """A corpus, and another that excludes it."""
    web = make_corpus(tmp_path / "web")
    add_pages(web, "one", [(9, "a", edited(1, 0)), (9, "b", edited(2, 0))], only_sign=True)
    rows(web)
    crawl = make_corpus(tmp_path / "crawl", exclude=["../web"])
    texts = [edited(1, 0), edited(2, 4), edited(3, 0), edited(3, 4)]
    add_pages(crawl, "one", [(n, f"u{n}", each) for n, each in enumerate(texts)], only_sign=True)
    return web, crawl


def test_what_another_corpus_holds_is_dropped_and_named(two: tuple[Corpus, Corpus]) -> None:
    web, crawl = two
    theirs = {row["text_key"]: row["doc_id"] for row in rows(web)}
    found = rows(crawl)
    assert [row["verdict"] for row in found] == ["excluded", "excluded", "kept", "near_duplicate"]
    assert [row["repeats"] in theirs.values() for row in found] == [True, True, False, False]
    assert found[0]["number"] == 1


def test_another_corpus_that_has_grown_makes_another_build(two: tuple[Corpus, Corpus]) -> None:
    web, crawl = two
    rows(crawl)
    before, files = crawl.current_build(), built(crawl)
    rows(crawl)
    assert built(crawl) == files
    add_pages(web, "two", [(10, "c", edited(3, 0))], only_sign=True)
    with pytest.raises(DataError, match=r"0002-two: is not in the current build .* `outbound corpus select"):
        rows(crawl)
    rows(web)
    assert [row["verdict"] for row in rows(crawl)] == ["excluded", "excluded", "excluded", "excluded"]
    assert crawl.current_build() != before
    assert {path: content for path, content in built(crawl).items() if before.name in path} == {
        path: content for path, content in files.items() if before.name in path
    }


def test_a_corpus_that_cannot_be_excluded_is_refused_with_a_remedy(
    two: tuple[Corpus, Corpus], tmp_path: Path
) -> None:
    for exclude, message in [("../none", "no corpus here"), (".", "is the corpus itself")]:
        corpus = make_corpus(tmp_path / exclude.strip("./") / "mine", exclude=[exclude])
        add_pages(corpus, "one", [(1, "a", "b")], only_sign=True)
        with pytest.raises(DataError, match=message):
            rows(corpus)
    other = make_corpus(tmp_path / "other", NearDuplicates(bands=10), exclude=["../web"])
    add_pages(other, "one", [(1, "a", edited(1, 0))], only_sign=True)
    with pytest.raises(DataError, match=r"20 bands of 7 rows.* 10 bands of 7 rows; make the build"):
        rows(other)


def test_an_index_or_signatures_of_another_version_are_refused(
    two: tuple[Corpus, Corpus], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(minhash, "VERSION", minhash.VERSION + 1)
    with pytest.raises(DataError, match=r"scored by other versions: 0001-one \(minhash 4, now 5\)"):
        rows(two[1])
    later = make_corpus(tmp_path / "later", exclude=["../web"])
    add_pages(later, "one", [(1, "a", edited(1, 0))], only_sign=True)
    with pytest.raises(DataError, match=r"MinHash 4, 20 bands .* MinHash 5, 20 bands .*corpus score`"):
        rows(later)


@pytest.mark.parametrize("damage", [b"", b"{", b"outbound" * 100])
def test_a_damaged_index_is_named(tmp_path: Path, damage: bytes) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", [(1, "a", edited(1, 0))], only_sign=True)
    rows(corpus)
    next(corpus.current_build().path.glob("0001-one/index/*.bands")).write_bytes(damage)
    add_pages(corpus, "two", [(2, "b", edited(1, 1))], only_sign=True)
    with pytest.raises(DataError, match=r"0001-00000-.*\.bands: is no whole file .* corpus verify`"):
        rows(corpus)
