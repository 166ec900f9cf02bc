"""`status` says what lies on disk, and names the command that brings a corpus further."""

from pathlib import Path

import pytest
import xxhash

from dataprep.audit.funnel import funnel
from dataprep.audit.statistics import corpus_statistics
from dataprep.audit.status import next_step, opt_outs, sizes
from dataprep.crawl import rounds
from dataprep.imports.inputs import Import, agree
from dataprep.ingest import extend
from support.ready_corpus import add_pages, commit_part, enter_links, make_corpus, no_progress

POST = '{"id": "1", "url": "http://b.test/", "score": 9, "created_utc": 1, "subreddit": "x"}'
PAGES = [(n, f"http://a.test/{n}", f"page {n} of a book on ships and the sea " * 2**n) for n in range(4)]


@pytest.mark.slow(1)
def test_the_next_step_is_named_at_every_point(tmp_path: Path) -> None:
    corpus, dump = make_corpus(tmp_path / "corpus"), tmp_path / "dump.json"
    assert "corpus add" in next_step(corpus)
    dump.write_text(POST)
    enter_links(corpus, "month", [dump])
    assert "corpus add" in next_step(corpus)
    assert "again for month: fetch is next" in next_step(corpus)
    assert f"corpus drop {corpus.root} month" in next_step(corpus)
    assert funnel(corpus.root)[0].unit == "submissions"
    agree(corpus.increment("month"), Import("warc", {}, {}))
    assert "--kind warc` again for month: fetch is next" in next_step(corpus)
    assert funnel(corpus.root)[0].unit == "captures"
    corpus.drop("month")
    texts = corpus.increment("texts")
    agree(texts, Import("jsonl", {}, {}))
    assert "--kind jsonl` again for texts, or" in next_step(corpus)
    corpus.drop("texts")
    add_pages(corpus, "one", PAGES)
    assert "corpus select" in next_step(corpus)
    extend(corpus, 1, no_progress)
    assert "outbound pack" in next_step(corpus)
    on_disk = sum(path.stat().st_size for path in corpus.root.rglob("*") if path.is_file())
    counted = sizes(corpus)
    assert counted.pop("garbage") == 0
    others = sum(path.stat().st_size for path in corpus.root.rglob("*") if belongs_to_no_folder(path))
    assert sum(counted.values()) == on_disk - others


def belongs_to_no_folder(path: Path) -> bool:
    """Settings, locks, and what sums up the folders of an increment."""
    summed_up = "increments" in path.parts and path.name.endswith(".step.json")
    return summed_up or path.name in (
        "manifest.json",
        "recipe.yaml",
        "collect.json",
        "increment.json",
        ".lock",
    )


def test_a_portrait_counts_every_kept_document_once(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", PAGES, parts=2)
    add_pages(corpus, "two", [(9, "http://a.test/again", PAGES[3][2])])
    extend(corpus, 1, no_progress)
    seen = corpus_statistics(corpus)
    assert sum(seen.languages.values()) == 4
    assert seen.words == [(8, 1), (16, 1), (32, 1), (64, 1)]
    assert seen.karma == [(2, 4)]
    assert [(each.kept, each.duplicates) for each in seen.growth] == [(4, {}), (0, {"exact_duplicate": 1})]
    assert seen.growth[0].characters == sum(len(text) for _, _, text in PAGES)


def test_links_that_opted_out_are_counted_by_signal_each_by_its_last_fetch(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    increment = corpus.increment("one")
    signal, usage = "robots.txt Content-Signal: ai-train=no", "Content-Usage: train-ai=n"
    rounds_of = [
        [("a", "opted_out", signal), ("b", "opted_out", usage), ("c", "timeout", ""), ("d", "ok", "")],
        [("b", "opted_out", signal), ("c", "opted_out", signal), ("e", "opted_out", "")],  # e was forgotten
    ]
    for part, ended in enumerate(rounds_of):
        rows = [
            {"url_key": xxhash.xxh3_128_digest(name.encode()), "outcome": outcome, "detail": detail}
            for name, outcome, detail in ended
        ]
        commit_part(corpus, increment, "fetch", part, rows, rounds.SCHEMA)
    assert opt_outs(corpus) == {signal: 3}
