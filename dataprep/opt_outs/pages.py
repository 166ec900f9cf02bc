"""The pages of a corpus and the addresses at which they are asked about again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataprep.corpus.directory import Corpus
from dataprep.corpus.urls import site_of
from dataprep.crawl.archive import captured
from dataprep.crawl.targets import Target
from dataprep.store.files import read_table


@dataclass(frozen=True)
class Pages:
    """The pages of a corpus, sorted by site and address; how many documents each url_key has; and of how
    many documents no address on the web is known."""

    targets: list[Target]
    documents: Counter[bytes]
    unaddressed: int


def pages_of(corpus: Corpus) -> Pages:
    """All pages that the corpus holds, those of which no document was made, too.

    A page is asked about where it came from: after redirects, and for an archive's copy at the address that
    the archive had captured. Memory: the addresses.
    """
    documents: Counter[bytes] = Counter()
    addresses: dict[bytes, str] = {}
    for key, url in _rows(corpus, "extract", "documents", ["url_key", "url"]):
        documents[key] += 1
        addresses[key] = url
    for key, outcome, link, final_url in _rows(
        corpus, "fetch", "fetches", ["url_key", "outcome", "url", "final_url"]
    ):
        if outcome == "ok":
            original = "" if captured(link) else captured(final_url)
            address = original or final_url
            addresses[key] = address if _site(address) else link
    targets = [Target(url, key, site) for key, url in addresses.items() if (site := _site(url))]
    asked = {target.url_key for target in targets}
    return Pages(
        targets=sorted(targets, key=lambda target: (target.site, target.url)),
        documents=documents,
        unaddressed=sum(number for key, number in documents.items() if key not in asked),
    )


def _site(url: str) -> str:
    """The site of an address, "" for none on the web: what archives hold may be spelt in any way."""
    try:
        return site_of(url) if url.startswith(("http://", "https://")) else ""
    except ValueError:
        return ""


def _rows(corpus: Corpus, step: str, name: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of all tables of a step, but for those that were forgotten."""
    for increment in corpus.increments():
        for output in increment.outputs(step, name):
            table = read_table(corpus.root, [output], columns)
            rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
            yield from (row for row in rows if row[columns.index("url")])
