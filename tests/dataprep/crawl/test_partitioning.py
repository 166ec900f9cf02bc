"""Links in partitions: whole sites, the longest first, the same whatever the order of the links."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xxhash

from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl import hop_plan, partitioning
from dataprep.crawl.hop_plan import HopPlan
from dataprep.crawl.targets import SCHEMA
from dataprep.errors import DataError
from dataprep.store.files import publish_table
from dataprep.store.records import Record, commit
from support.planned_links import HOP, INPUTS, SIZES, links, tables, target
from support.ready_corpus import commit_part, make_corpus

pytestmark = pytest.mark.usefixtures("partitions_of_four")


def sites(corpus: Corpus, plan: HopPlan) -> list[list[str]]:
    """The site of each row of each partition."""
    return [hop_plan.read(corpus.root, each.targets)["site"].to_pylist() for each in plan.partitions]


def test_sites_are_whole_the_longest_first_and_giants_alone(corpus: Corpus, increment: Increment) -> None:
    plan = partitioning.make(corpus, increment, HOP, tables(links(SIZES)), inputs=INPUTS)
    found = sites(corpus, plan)
    assert found[:4] == [["giant.test"] * 4, ["giant.test"] * 4, ["giant.test"] * 3, ["long.test"] * 4]
    assert found[4][:2] == ["short.test"] * 2
    assert set(found[4][2:]) == {"other.test", "last.test"}
    names = [each.name for each in plan.partitions]
    assert [each.after for each in plan.partitions] == ["", names[0], names[1], "", ""]
    assert [plan.later(each) for each in plan.partitions] == [7, 3, 0, 0, 0]
    assert [(each.links, each.sites) for each in plan.partitions] == [(4, 1), (4, 1), (3, 1), (4, 1), (4, 3)]
    keys = [hop_plan.read(corpus.root, each.targets)["url_key"].to_pylist() for each in plan.partitions[:3]]
    giant = [key for of_one in keys for key in of_one]
    assert giant == sorted(giant)


@pytest.mark.slow(1)
def test_the_bytes_of_a_plan_do_not_depend_on_the_order_of_the_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, found = links(SIZES | {f"s{n}.test": n % 4 + 1 for n in range(30)}), []
    for seed in range(3):
        monkeypatch.setattr("dataprep.store.external_sort.RUN_BYTES", 1 << (8 + 4 * seed))
        random.Random(seed).shuffle(rows)
        corpus = make_corpus(tmp_path / str(seed))
        increment = corpus.increment("one")
        plan = partitioning.make(corpus, increment, HOP, tables(rows, 1 + seed * 5), inputs=INPUTS)
        assert sum(each.links for each in plan.partitions) == len(rows)
        assert max(each.links for each in plan.partitions) <= 4
        folder = hop_plan.folder(increment)
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1] == found[2]


def test_what_was_forgotten_is_a_row_of_the_first_partition(corpus: Corpus, increment: Increment) -> None:
    gone = [target("gone.test", number, url="") for number in range(6)]
    plan = partitioning.make(corpus, increment, HOP, tables([*gone, *links({"a.test": 3})]), inputs=INPUTS)
    assert [(each.links, each.targets.rows) for each in plan.partitions] == [(3, 9)]
    nothing = partitioning.make(corpus, increment, "round-001-1", tables(gone), inputs=INPUTS)
    assert [(each.links, each.sites, each.targets.rows) for each in nothing.partitions] == [(0, 0, 6)]
    assert partitioning.make(corpus, increment, "round-002-1", tables([]), inputs=INPUTS).partitions == []


def test_a_plan_that_stands_is_taken_and_its_links_are_not_read(corpus: Corpus, increment: Increment) -> None:
    plan = partitioning.make(corpus, increment, HOP, tables(links(SIZES)), inputs=INPUTS)

    def unread() -> Iterator[pa.Table]:
        raise AssertionError
        yield

    assert partitioning.make(corpus, increment, HOP, unread(), inputs=INPUTS) == plan
    with pytest.raises(DataError, match="other inputs"):
        partitioning.make(corpus, increment, HOP, unread(), inputs={"links": "1"})


def fetched(url: str, site: str, **columns: Any) -> dict[str, Any]:
    key = xxhash.xxh3_128_digest(url.encode())
    return {"url": url, "url_key": key, "site": site, "outcome": "ok", "final_url": url, **columns}


def test_a_partition_has_the_stored_pages_of_its_own_sites(corpus: Corpus, increment: Increment) -> None:
    rows = [
        fetched("http://giant.test/a", "giant.test", etag="1"),
        fetched("http://giant.test/b", "giant.test"),  # nothing to ask for it with
        fetched("http://long.test/c", "long.test", last_modified="then"),
        fetched("http://never.test/d", "never.test", etag="1"),
        fetched("http://giant.test/e", "giant.test", etag="2", outcome="not_found"),
    ]
    commit_part(corpus, increment, "fetch", 0, rows, SCHEMA)
    plan = partitioning.make(corpus, increment, "round-000-2", tables(links(SIZES)), inputs=INPUTS)
    stored = [
        hop_plan.read(corpus.root, each.stored)["url"].to_pylist() if each.stored else []
        for each in plan.partitions
    ]
    giant = ["http://giant.test/a"]
    assert stored[:3] == [giant] * 3
    assert sorted(url for urls in stored[3:] for url in urls) == ["http://long.test/c"]


def test_a_plan_that_was_lost_is_made_again_unless_links_went_since(
    corpus: Corpus, increment: Increment
) -> None:
    rows = links({"a.test": 3, "b.test": 2})
    plan = partitioning.make(corpus, increment, HOP, tables(rows), inputs=INPUTS)
    assert [each.links for each in plan.partitions] == [3, 2]
    name = plan.partitions[0].name
    done = [fetched(row["url"], row["site"], etag="1") for row in rows[:3]]
    table = pa.Table.from_pylist(done, schema=SCHEMA)
    output = publish_table(corpus.root, increment.path / "fetch", name, table)
    record = Record(step="fetch", part=name, inputs=INPUTS, outputs={"fetches": output})
    commit(increment.path / "fetch" / f"{name}.json", record)
    hop_plan.plan_path(increment, HOP).unlink()
    assert partitioning.make(corpus, increment, HOP, tables(rows), inputs=INPUTS) == plan
    hop_plan.plan_path(increment, HOP).unlink()
    left = [target("a.test", number, url="") for number in range(3)] + rows[3:]
    with pytest.raises(DataError, match=f"was lost, and {name} was crawled by another plan"):
        partitioning.make(corpus, increment, HOP, tables(left), inputs=INPUTS)
