"""What a request to forget covers, found in the facts before anything is changed.

A URL: the link, and every link whose page was fetched from that URL after redirects. A site (registrable
domain): its links, and every link whose page was fetched from it. A submission: its entry in the link that it
gave; and the link itself when it stands by that submission, which is the one with which it reached the bar.
(Not: when what is left reaches the bar. Of a link that has entered, later posts are counted, not listed, so
that would differ between one increment and two of the same posts.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Links
from dataprep.corpus.tombstones import Tombstone
from dataprep.corpus.urls import key_of, site_of, site_of_host
from dataprep.crawl import unfinished
from dataprep.errors import DataError
from dataprep.extract import stage as extract
from dataprep.links.karma import naming
from dataprep.redact.scope import ForgetScope, Place
from dataprep.store.files import read_table


def of_url(corpus: Corpus, url: str) -> Tombstone:
    """The tombstone of a URL."""
    keys = {key_of(url), *_led_to(corpus, lambda final: key_of(final) == key_of(url))}
    return Tombstone(url_keys=_hex(keys))


def of_site(corpus: Corpus, name: str) -> Tombstone:
    """The tombstone of a site; raises DataError for a name that is none, such as a host of a site."""
    site = site_of_host(name.strip().lower().rstrip("."))
    if site != name.strip().lower().rstrip(".") or "/" in name or ":" in name:
        raise DataError(f"--site {name}: is no site (registrable domain); {site!r} may be meant")
    return Tombstone(url_keys=_hex(_led_to(corpus, lambda final: site_of(final) == site)), sites=[site])


def of_submission(corpus: Corpus, identifier: str) -> Tombstone:
    """The tombstone of a submission, and of the links that stand by it."""
    rules = corpus.recipe.collect.links
    keys = {
        row["url_key"]
        for table in _link_tables(corpus)
        for row in table.take(naming(table["submissions"], [identifier])).to_pylist()
        if stands_by(row, rules) == identifier
    }
    return Tombstone(url_keys=_hex(keys), submissions=[identifier])


def stands_by(link: dict[str, Any], rules: Links) -> str | None:
    """The submission with which a link reached the bar (of several in one second, the first)."""
    for submission in link["submissions"]:
        if submission["created_utc"] == link["first_seen"] and (
            rules.karma_rule == "sum" or submission["score"] >= rules.karma
        ):
            return str(submission["id"])
    return None


def find_scope(corpus: Corpus, tombstone: Tombstone) -> ForgetScope:
    """What a tombstone covers. Memory: the keys, addresses and pages of the links that go or were moved."""
    found = ForgetScope(
        keys=frozenset(bytes.fromhex(key) for key in tombstone.url_keys),
        sites=frozenset(tombstone.sites),
        submissions=frozenset(tombstone.submissions),
    )
    there, relisted = set[bytes](), set[bytes]()
    for table in (*_link_tables(corpus), *_document_keys(corpus)):
        there.update(table.filter(pa.array(found.rows(table)))["url_key"].to_pylist())
        if found.submissions and "submissions" in table.column_names:
            named = naming(table["submissions"], sorted(found.submissions))
            relisted.update(table.take(named)["url_key"].to_pylist())
    keys = found.keys | there
    found = replace(found, keys=keys, relisted=frozenset(relisted - keys), links=len(there))
    found = _with_addresses(corpus, found)
    return replace(found, documents=tuple(_documents(corpus, found)))


def _led_to(corpus: Corpus, chosen: Callable[[str], bool]) -> set[bytes]:
    """The links whose page came, after redirects, from an address that is chosen; or that moved to one, where
    an increment is open and has not followed them yet."""
    keys = set[bytes]()
    for increment in corpus.increments():
        moved = set[bytes]()
        for _, table in _fetches(corpus, increment):
            for key, outcome, url in zip(
                *(table[name].to_pylist() for name in ("url_key", "outcome", "final_url")), strict=True
            ):
                led = url and outcome in ("ok", "moved") and chosen(url)
                moved.discard(key)
                if led:
                    (keys if outcome == "ok" else moved).add(key)
        if not increment.closed:
            keys |= moved
    return keys


def _with_addresses(corpus: Corpus, found: ForgetScope) -> ForgetScope:
    """The addresses to which links had moved; where two did to one, also which pages are whose."""
    onward, staying, files = set[bytes](), set[bytes](), set[str]()
    for warcs, table in _all_fetches(corpus):
        going = found.rows(table)
        if going.any():
            files.update(warcs)
        for mask, moved in ((going, onward), (~going, staying)):
            rows = table.filter(pa.array(mask)).filter(pc.field("outcome") == "moved")
            moved.update(key_of(url) for url in rows["final_url"].to_pylist())
    found = replace(found, onward=frozenset(onward), staying=frozenset(staying & onward))
    if not found.staying:
        return found
    kept = set[tuple[str, int]]()
    for _, table in _all_fetches(corpus):
        there = pc.is_in(table["warc_file"], value_set=pa.array(sorted(files), pa.string()))
        rows = table.filter(pa.array(~found.rows(table) & there.to_numpy().astype(np.bool_)))
        kept.update(zip(rows["warc_file"].to_pylist(), rows["warc_offset"].to_pylist(), strict=True))
    return replace(found, kept=frozenset(kept))


def _all_fetches(corpus: Corpus) -> Iterator[tuple[list[str], pa.Table]]:
    for increment in corpus.increments():
        yield from _fetches(corpus, increment)


def _fetches(corpus: Corpus, increment: Increment) -> Iterator[tuple[list[str], pa.Table]]:
    """The fetches of each partition, be it committed or not, with its WARC files."""
    columns = ["url_key", "site", "outcome", "final_url", "warc_file", "warc_offset"]
    for part in increment.parts("fetch"):
        warcs = [output.path for output in part.group("warc")]
        yield warcs, read_table(corpus.root, [part.outputs["fetches"]], columns)
    if not increment.closed:
        yield unfinished.fetches(increment, corpus.root)


def _documents(corpus: Corpus, found: ForgetScope) -> Iterator[tuple[bytes, Place]]:
    for increment in corpus.increments():
        for part, documents in extract.numbered(increment):
            table = read_table(corpus.root, [documents], ["doc_id", "url_key", "site", "url"])
            there = pc.not_equal(table["url"], "").to_numpy().astype(np.bool_)  # what is empty went before
            rows = np.flatnonzero(found.rows(table) & there)
            for row, doc_id in zip(
                rows.tolist(), table["doc_id"].take(pa.array(rows)).to_pylist(), strict=True
            ):
                yield doc_id, (increment.number, part, row)


def _link_tables(corpus: Corpus) -> Iterator[pa.Table]:
    for increment in corpus.increments():
        for output in increment.link_tables:
            yield read_table(corpus.root, [output])


def _document_keys(corpus: Corpus) -> Iterator[pa.Table]:
    for increment in corpus.increments():
        for output in increment.outputs("extract", "documents"):
            yield read_table(corpus.root, [output], ["url_key", "site"])


def _hex(keys: set[bytes]) -> list[str]:
    return sorted(key.hex() for key in keys)
