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
from dataprep.corpus.urls import is_public_suffix, key_of, names_above, site_of, site_of_host
from dataprep.crawl import unfinished
from dataprep.errors import DataError
from dataprep.extract import stage as extract
from dataprep.links.karma import naming
from dataprep.redact.scope import ForgetScope, Place
from dataprep.store.files import read_table

SHOWN = 10
"""Sites that a message names."""


def of_url(corpus: Corpus, url: str) -> Tombstone:
    """The tombstone of a URL."""
    keys = {key_of(url), *_led_to(corpus, lambda final: key_of(final) == key_of(url))}
    return Tombstone(url_keys=_hex(keys))


def of_site(corpus: Corpus, name: str) -> Tombstone:
    """The tombstone of a site; raises DataError for a name that is none, such as a host of a site."""
    site = site_named(name)
    return Tombstone(url_keys=_hex(_led_to(corpus, lambda final: site_of(final) == site)), sites=[site])


def site_named(name: str) -> str:
    """The site of that name; raises DataError for a name that is none, such as a host of a site."""
    site = site_of_host(name.strip().lower().rstrip("."))
    if site != name.strip().lower().rstrip(".") or "/" in name or ":" in name:
        raise DataError(f"--site {name}: is no site (registrable domain); {site!r} may be meant")
    return site


def refuse_unknown(corpus: Corpus, site: str, ahead: bool) -> None:
    """Raise DataError for a site of which a corpus holds nothing, and for a public suffix, unless `ahead`.

    Then it is kept out of what comes. A suffix below which the corpus holds sites is refused all the same.
    """
    held = _sites(corpus)
    if not is_public_suffix(site):
        if not (ahead or site in held):
            raise DataError(
                f"--site {site}: nothing of it is in this corpus; check its spelling, or add --ahead to keep "
                "it out of what comes"
            )
        return
    rule = f"--site {site}: is a public suffix, and each name below it is a site of its own"
    if below := sorted(name for name in held if site in names_above(name)):
        more = f" and {len(below) - SHOWN:,} more" if len(below) > SHOWN else ""
        raise DataError(
            f"{rule}; forget those of this corpus first, one by one: {', '.join(below[:SHOWN])}{more}"
        )
    if not ahead:
        raise DataError(f"{rule}; name one of them, or add --ahead to keep all of them out of what comes")


def _sites(corpus: Corpus) -> set[str]:
    """The sites of all links and documents, and those from which pages came. Memory: some 100 bytes each."""
    held = set[str]()
    for table in _links_and_documents(corpus, ["url_key", "site"]):
        held.update(pc.unique(table["site"]).to_pylist())
    for _, table in _all_fetches(corpus):
        led = table.filter(pc.is_in(table["outcome"], value_set=pa.array(["ok", "moved"])))
        held.update(site_of(url) for url in led["final_url"].to_pylist() if url)
    return held


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
    for table in _links_and_documents(corpus, ["url_key", "site"]):
        there.update(table.filter(pa.array(found.rows(table)))["url_key"].to_pylist())
        if found.submissions and "submissions" in table.column_names:
            named = naming(table["submissions"], sorted(found.submissions))
            relisted.update(table.take(named)["url_key"].to_pylist())
    keys = found.keys | there
    found = replace(found, keys=keys, relisted=frozenset(relisted - keys), links=len(there))
    found = _with_addresses(corpus, found)
    return replace(found, documents=tuple(_documents(corpus, found)))


def urls(corpus: Corpus, found: ForgetScope) -> list[str]:
    """The URLs of the links and documents that go, sorted. Memory: theirs."""
    going = set[str]()
    for table in _links_and_documents(corpus, ["url_key", "site", "url"]):
        going.update(table.filter(pa.array(found.rows(table)))["url"].to_pylist())
    return sorted(going - {""})  # an empty one went before


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


def _links_and_documents(corpus: Corpus, columns: list[str]) -> Iterator[pa.Table]:
    """The tables of links, and these columns of the documents, one table in memory at a time."""
    yield from _link_tables(corpus)
    for increment in corpus.increments():
        for output in increment.outputs("extract", "documents"):
            yield read_table(corpus.root, [output], columns)


def _hex(keys: set[bytes]) -> list[str]:
    return sorted(key.hex() for key in keys)
