"""Pages are asked about where they came from, each once."""

from __future__ import annotations

from pathlib import Path

import xxhash

from dataprep.crawl import rounds
from dataprep.extract import stage as extract
from dataprep.opt_outs.pages import pages_of
from support.ready_corpus import commit_part, make_corpus


def test_redirects_and_archives_lead_to_the_address_of_the_page(tmp_path: Path) -> None:
    fetched = {
        "http://a.test/1": ("ok", "http://a.test/1"),
        "http://a.test/hop": ("ok", "http://b.test/page"),
        "http://dead.test/x?y": ("ok", "http://web.test/20130801000000id_/http://dead.test/z?y"),
        "http://web.test/2013/http://linked.test/": ("ok", "http://web.test/2013/http://linked.test/"),
        "http://dead.test/odd": ("ok", "http://web.test/20130801000000id_/http://[odd"),
        "http://a.test/gone": ("not_found", "http://a.test/gone"),
        "": ("ok", ""),  # forgotten
    }
    documents = ["http://a.test/1", "http://a.test/1", "file:novel.txt#1", "https://table.test/row"]

    def key(url: str) -> bytes:
        return xxhash.xxh3_128_digest(url.encode())

    corpus = make_corpus(tmp_path / "corpus")
    increment = corpus.increment("one")
    rows = [
        {"url_key": key(url), "url": url, "outcome": outcome, "final_url": final}
        for url, (outcome, final) in fetched.items()
    ]
    commit_part(corpus, increment, "fetch", 0, rows, rounds.SCHEMA)
    rows = [{"url_key": key(url), "url": url} for url in documents]
    commit_part(corpus, increment, "extract", 0, rows, extract.SCHEMA)
    pages = pages_of(corpus)
    assert [(target.site, target.url) for target in pages.targets] == [
        ("a.test", "http://a.test/1"),
        ("b.test", "http://b.test/page"),
        ("dead.test", "http://dead.test/odd"),
        ("dead.test", "http://dead.test/z?y"),
        ("table.test", "https://table.test/row"),
        ("web.test", "http://web.test/2013/http://linked.test/"),
    ]
    assert [pages.documents[target.url_key] for target in pages.targets] == [2, 0, 0, 0, 1, 0]
    assert pages.unaddressed == 1
