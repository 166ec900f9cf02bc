"""`corpus sample` draws documents of a verdict alike, with the number and the threshold that decided."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dataprep import ingest
from dataprep.audit.sample import draw
from dataprep.audit.score_histograms import score_histograms
from dataprep.corpus.directory import Corpus
from dataprep.selection.exclude import select_of
from support.cli import result
from support.cli import run as outbound
from support.ready_corpus import add_pages, make_corpus, no_progress

pytestmark = pytest.mark.slow(2)
PAGES = [(n, f"http://a.test/{n}", f"page {n} " + " ".join(f"w{n * m}" for m in range(n))) for n in range(12)]
SHORT, LONG = PAGES[:4], PAGES[4:]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Four documents of under six words, and eight others, in two increments. Left as it is."""
    made = make_corpus(tmp_path_factory.mktemp("corpus"), min_words=6)
    add_pages(made, "one", PAGES[::2], parts=2)
    add_pages(made, "two", PAGES[1::2])
    ingest.extend(made, 1, no_progress)
    return made


def test_what_was_dropped_comes_with_the_number_that_decided_and_the_threshold(corpus: Corpus) -> None:
    found = result("corpus", "sample", corpus.root, "--verdict", "min_words")
    assert found["count"] == len(found["documents"]) == 4
    numbers = {document["url"]: document["number"] for document in found["documents"]}
    assert numbers == {url: len(text.split()) for _, url, text in SHORT}
    assert {document["text"] for document in found["documents"]} == {text for _, _, text in SHORT}
    assert {document["threshold"] for document in found["documents"]} == {6}
    again = outbound("corpus", "sample", corpus.root, "--verdict", "dropped", "--seed", found["seed"]).stdout
    assert again.startswith(f"4 of 4 documents, verdict dropped; --seed {found['seed']} draws them again")
    assert [line.split()[0] for line in again.splitlines() if "min_words: " in line] == [
        document["doc_id"] for document in found["documents"]
    ]
    assert "min_words: 2 (recipe: 6)" in again


def test_the_draw_is_repeated_by_its_seed_and_is_of_all_documents_alike(corpus: Corpus) -> None:
    commands = [("corpus", "sample", corpus.root, "--n", 3, "--seed", seed) for seed in (7, 7, 8)]
    first, same, other = (result(*command)["documents"] for command in commands)
    assert first == same != other
    assert [document["verdict"] for document in first] == ["kept"] * 3
    build, times = corpus.current_build(), Counter[tuple[int, int, int]]()
    for seed in range(100):
        drawn = draw(corpus, build, 2, seed).of("kept", 2)
        times.update((each.increment.number, each.part, each.row) for each in drawn)
    assert len(times) == 8
    assert all(10 < count < 40 for count in times.values())  # 25 expected, with a deviation of 4


def test_the_scores_below_a_threshold_are_those_of_the_documents_that_it_drops(corpus: Corpus) -> None:
    rules = select_of(corpus, corpus.current_build())
    assert rules
    (found,) = score_histograms(corpus, corpus.current_build(), rules)
    assert (found.column, found.bounds, sum(found.counts)) == ("words", {"min_words": 6}, len(PAGES))
    below = [count for high, count in zip(found.edges[1:], found.counts, strict=True) if high <= 6]
    assert sum(below) == len(SHORT)


def test_a_verdict_that_no_document_has_is_answered_with_those_there_are(corpus: Corpus) -> None:
    ended = outbound("corpus", "sample", corpus.root, "--verdict", "min_word")
    assert ended.returncode == 2
    assert "--verdict min_word: no document has it; there are: kept (8), min_words (4)" in ended.stderr


def test_a_build_of_another_selection_is_sampled_and_its_threshold_is_unknown(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, min_words=1)
    add_pages(corpus, "one", SHORT)
    result("corpus", "select", corpus.root, "min_words=3", "--workers", 1)
    (document,) = result("corpus", "sample", corpus.root, "--verdict", "min_words")["documents"]
    assert (document["number"], document["threshold"]) == (2, None)
    result("corpus", "select", corpus.root, "--workers", 1)
    assert outbound("corpus", "sample", corpus.root, "--verdict", "min_words").returncode == 2
