"""The plan of a hop as files: what is refused, what gc leaves, and the time that the plan promises."""

from __future__ import annotations

import pytest

from dataprep.audit import gc
from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl import hop_plan, partitioning
from dataprep.crawl.hop_plan import Assumed
from dataprep.errors import DataError
from support.planned_links import HOP, INPUTS, SIZES, links, tables

pytestmark = pytest.mark.usefixtures("partitions_of_four")


def test_a_file_of_a_plan_that_was_altered_is_refused(corpus: Corpus, increment: Increment) -> None:
    plan = partitioning.make(corpus, increment, HOP, tables(links(SIZES)), inputs=INPUTS)
    path = corpus.root / plan.partitions[0].targets.path
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match="was altered; remove the"):
        hop_plan.read(corpus.root, plan.partitions[0].targets)


def test_gc_leaves_the_plans_of_an_open_crawl_alone_and_names_other_plans(
    corpus: Corpus, increment: Increment
) -> None:
    partitioning.make(corpus, increment, HOP, tables(links(SIZES)), inputs=INPUTS)
    assert gc.find(corpus) == []
    beside = hop_plan.folder(increment).parent / "extract.plan.json"
    beside.write_text("{}")
    assert [garbage.path for garbage in gc.find(corpus)] == [beside]
    assert hop_plan.unnamed(increment, corpus.root) == []
    killed = hop_plan.folder(increment) / "round-000-2-00000-0123.parquet"
    killed.write_text("half")
    assert hop_plan.unnamed(increment, corpus.root) == [killed]


def test_what_is_expected_counts_what_is_left_and_names_the_sites_that_end_last(
    corpus: Corpus, increment: Increment
) -> None:
    plan = partitioning.make(corpus, increment, HOP, tables(links(SIZES)), inputs=INPUTS)
    by = Assumed(partitions=4, lines=64, delay_s=1.0, answer_s=1.0)
    whole = hop_plan.expected(corpus.root, plan, plan.partitions, by)
    assert (whole.links, whole.sites, whole.seconds) == (19, 5, 26.0)
    named = [(site.name, site.links, site.ends_s) for site in whole.last]
    assert named == [("giant.test", 11, 26.0), ("long.test", 4, 12.0), ("short.test", 2, 8.0)]
    rest = hop_plan.expected(corpus.root, plan, plan.partitions[1:4], by)
    assert [(site.name, site.links) for site in rest.last] == [("giant.test", 7), ("long.test", 4)]
