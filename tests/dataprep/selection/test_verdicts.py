"""Verdicts: thresholds, exact and near duplicates, and the law that only the past decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprep import ingest
from dataprep.audit.funnel import funnel, top_sites
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import NearDuplicates
from dataprep.errors import DataError
from dataprep.selection.exclude import build_of
from dataprep.shards import text_shards
from dataprep.shards.text_shards import read_documents
from dataprep.store import locks
from dataprep.store.files import read_table
from dataprep.text import minhash
from support.ready_corpus import add_pages, make_corpus, no_progress

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ade", "ile", "ose", "une", "art", "ing", "orn")]


def sentence(seed: int, words: int = 120) -> list[str]:
    return [WORDS[n] for n in np.random.default_rng(seed).integers(0, len(WORDS), words)]


def variant(seed: int, edits: int) -> str:
    """A text of 120 words with its last words changed: edits=4 gives J = 0.93, edits=40 J = 0.5."""
    words = sentence(seed)
    return " ".join(words[: len(words) - edits] + [f"x{edits}"] * edits)


def verdicts(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """The row of each document's verdict, by its URL."""
    build = ingest.extend(corpus, 1, no_progress)
    found: dict[str, dict[str, Any]] = {}
    for increment in corpus.increments():
        urls = {}
        for documents in increment.outputs("extract", "documents"):
            table = pq.read_table(corpus.root / documents.path, columns=["doc_id", "url"])
            urls |= dict(zip(table["doc_id"].to_pylist(), table["url"].to_pylist(), strict=True))
        for row in read_table(corpus.root, build.outputs("verdicts", "verdicts", increment)).to_pylist():
            found[urls[row["doc_id"]]] = row
    return found


def test_the_later_of_two_copies_goes_and_says_what_it_repeats(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(
        corpus, "one", [(2, "late", variant(1, 0)), (1, "early", variant(1, 0)), (3, "near", variant(1, 4))]
    )
    found = verdicts(corpus)
    assert found["early"]["verdict"] == "kept"
    assert (found["late"]["verdict"], found["late"]["repeats"]) == (
        "exact_duplicate",
        found["early"]["doc_id"],
    )
    assert (found["near"]["verdict"], found["near"]["repeats"]) == (
        "near_duplicate",
        found["early"]["doc_id"],
    )
    one, other = (minhash.shingles(variant(1, edits)) for edits in (0, 4))
    assert found["near"]["number"] == minhash.jaccards(one, [other])[0]


def test_what_is_less_alike_than_the_threshold_stays(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, NearDuplicates(threshold=0.95))
    add_pages(corpus, "one", [(1, "a", variant(1, 0)), (2, "b", variant(1, 4))])
    assert {row["verdict"] for row in verdicts(corpus).values()} == {"kept"}


def test_a_copy_in_a_later_increment_repeats_the_earlier_one(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", [(1, "a", variant(1, 0))])
    add_pages(corpus, "two", [(2, "b", variant(1, 0)), (3, "c", variant(1, 4)), (4, "d", variant(2, 0))])
    assert {url: row["verdict"] for url, row in verdicts(corpus).items()} == {
        "a": "kept",
        "b": "exact_duplicate",
        "c": "near_duplicate",
        "d": "kept",
    }


def test_a_document_below_the_thresholds_displaces_nobody(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, min_words=100, languages=None)
    short = " ".join(sentence(1)[:99])
    add_pages(corpus, "one", [(1, "short", short), (2, "whole", " ".join(sentence(1)))])
    found = verdicts(corpus)
    assert (found["short"]["verdict"], found["short"]["number"]) == ("min_words", 99)
    assert found["whole"]["verdict"] == "kept"


def test_kept_documents_stand_in_tars_that_say_where_they_came_from(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(
        corpus, "one", [(n, f"u{n}", variant(n, 0)) for n in range(7)] + [(9, "copy", variant(3, 0))], parts=2
    )
    verdicts(corpus)
    build = corpus.current_build()
    tars = [tar.path for increment in corpus.increments() for tar in text_shards.outputs(build, increment)]
    documents = [document for tar in tars for document in read_documents(corpus.root / tar)]
    assert {document["url"]: document["text"] for document in documents} == {
        f"u{n}": variant(n, 0) for n in range(7)
    }


def test_the_funnel_adds_up(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, min_words=100)
    pages = [(n, f"u{n}", variant(n % 5, 0)) for n in range(9)]
    add_pages(corpus, "one", [*pages, (10, "short", "too short")])
    verdicts(corpus)
    chosen, deduplicated = funnel(corpus.root)[-2:]
    assert (chosen.entered, chosen.passed, chosen.reasons) == (10, 9, {"min_words": 1})
    assert (deduplicated.entered, deduplicated.passed) == (9, 5)
    assert deduplicated.reasons == {"exact_duplicate": 4}


def test_an_increment_without_documents_changes_nothing(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", [(1, "a", variant(1, 0))])
    add_pages(corpus, "none", [], parts=0)
    add_pages(corpus, "three", [(3, "b", variant(1, 0))])
    assert {url: row["verdict"] for url, row in verdicts(corpus).items()} == {
        "a": "kept",
        "b": "exact_duplicate",
    }
    assert top_sites(corpus.root, 3) == [("example.test", 1)]


def test_verify_names_what_is_lost_or_damaged(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", [(n, f"u{n}", variant(n, 0)) for n in range(4)], parts=2)
    verdicts(corpus)
    assert list(problems(corpus)) == []
    documents = corpus.increments()[0].path / "extract"
    (documents / "part-00001.json").unlink()
    (documents / "part-00000.json").write_text("{")
    found = "\n".join(problems(corpus))
    assert "extract/part-00001.json: missing" in found
    assert "extract/part-00000.json: is damaged" in found


def test_two_commands_never_extend_one_build_at_once(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", [(1, "a", variant(1, 0))])
    build = build_of(corpus)
    build.path.mkdir(parents=True)
    with locks.alone(build.path), pytest.raises(DataError, match="another command is at work here"):
        ingest.extend(corpus, 1, no_progress)
    ingest.extend(corpus, 1, no_progress)
    assert not list(problems(corpus))
