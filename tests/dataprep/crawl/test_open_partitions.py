"""Several partitions of a hop at once: long sites beside short ones, each site by one; kills and rivals."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dataprep import ingest
from dataprep.audit import gc
from dataprep.audit.funnel import funnel
from dataprep.audit.status import crawl_left
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl import hop_plan, partitioning, rounds
from dataprep.crawl.journal import whole_lines
from dataprep.store.workers import new_worker, workers_folder, write_worker
from support.cli import result, run
from support.crawls import SITES, loopback, page, rows
from support.kills import was_killed
from support.patience import patient, wait_until
from support.ready_corpus import make_corpus, no_progress

REPOSITORY = Path(__file__).parents[3]
PART_LINKS = 6
CHILD = """
import sys
from contextlib import contextmanager
from pathlib import Path
from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.crawl import partitioning
from dataprep.crawl.settings import CrawlSettings
from support.ready_corpus import no_progress

@contextmanager
def unseen(_):
    yield lambda _: None

root, dump, settings = sys.argv[1:]
partitioning.PART_LINKS = 6
settings = CrawlSettings.model_validate_json(settings)
ingest.add(Corpus.open(Path(root)), "one", [Path(dump)], settings, 1, "fetch", no_progress, unseen)
"""


class Served:
    """The pages of SITES; how many requests were under way at once, to each site and to all."""

    def __init__(self, site: Any) -> None:
        self.wait_s = 0.0
        self.open = threading.Event()
        self.open.set()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.urls = [
            site.serve(f"http://{name}/page/{number}", self.answer)
            for name, links in SITES.items()
            for number in range(links)
        ]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        for name in (request.host, "all"):
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
        try:
            await asyncio.sleep(self.wait_s)
            while not self.open.is_set():
                await asyncio.sleep(0.01)
            return web.Response(text=page(request.url), content_type="text/html")
        finally:
            for name in (request.host, "all"):
                self.now[name] -= 1


@pytest.fixture(autouse=True)
def partitions_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitioning, "PART_LINKS", PART_LINKS)


@pytest.fixture
def served(site: Any) -> Served:
    return Served(site)


@pytest.fixture
def dump(tmp_path: Path, served: Served) -> Path:
    path = tmp_path / "dump.json"
    same = {"score": 9, "subreddit": "x"}
    posts = [{"id": str(at), "url": url, "created_utc": at, **same} for at, url in enumerate(served.urls)]
    path.write_text("\n".join(map(json.dumps, posts)))
    return path


@contextmanager
def unseen(_: Increment) -> Iterator[Callable[[object], None]]:
    yield lambda _: None


def add(
    corpus: Corpus, dump: Path, site: Any, until: str = "fetch", plan_only: bool = False, **changes: Any
) -> Increment:
    settings = loopback(site.port, **changes)
    words = (1, until, no_progress, unseen)
    return ingest.add(corpus, "one", [dump], settings, *words, plan_only=plan_only)


def asked(site: Any) -> list[str]:
    """The hosts that were asked for pages, in order."""
    return [hit.host for hit in site.hits if hit.path.startswith("/page")]


@pytest.mark.slow(2)
def test_long_sites_run_beside_short_ones_and_no_site_is_asked_twice_at_once(
    site: Any, served: Served, dump: Path, tmp_path: Path
) -> None:
    served.wait_s = 0.02
    found = {}
    for partitions in (1, 2, 8):
        site.hits.clear()
        served.most.clear()
        corpus = make_corpus(tmp_path / str(partitions))
        add(corpus, dump, site, partitions=partitions)
        found[partitions] = rows(corpus)
        order = asked(site)
        assert Counter(order) == SITES
        last_long = len(order) - 1 - order[::-1].index("long.test")
        beside = sum(host != "long.test" for host in order[:last_long])
        assert (beside > 4) == (partitions > 1)
        assert max(served.most[name] for name in SITES) == 1
        assert served.most["all"] <= partitions
    assert found[1] == found[2] == found[8]
    assert len(found[1]) == 9


@pytest.mark.slow(1)
def test_sites_at_once_are_those_of_all_partitions_together(site: Any, served: Served, dump: Path) -> None:
    served.wait_s = 0.01
    corpus = make_corpus(dump.parent / "corpus")
    add(corpus, dump, site, partitions=8, concurrency=3)
    assert served.most["all"] == 3
    assert {outcome for part in rows(corpus).values() for _, outcome in part} == {"ok"}


def start(corpus: Corpus, dump: Path, site: Any, **changes: Any) -> subprocess.Popen[str]:
    settings = loopback(site.port, **changes).model_dump_json()
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(corpus.root), str(dump), settings],
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"},
        stderr=subprocess.PIPE,
        text=True,
    )


def journals(corpus: Corpus, attempt: int) -> dict[str, int]:
    """The journals of an attempt number, each with its whole lines."""
    found = corpus.root.glob(f"increments/*/pages/*-{attempt:04d}.journal")
    return {path.stem: len(whole_lines(path)[0]) for path in found}


@pytest.mark.slow(4)
@pytest.mark.parametrize(("hits", "begun"), [(20, 2), (34, 0)])
def test_killed_with_several_partitions_open_it_goes_on_with_each_of_them(
    site: Any, served: Served, dump: Path, hits: int, begun: int
) -> None:
    """hits: requests before the kill; begun: partitions of which some pages stand by then, and not all."""
    served.wait_s = 0.02
    corpus = make_corpus(dump.parent / "corpus")
    child, seen = start(corpus, dump, site, partitions=4), count(1)
    site.on_hit = lambda: child.kill() if next(seen) == hits else None
    _, said = child.communicate(timeout=patient())
    site.on_hit = lambda: None
    assert was_killed(child.returncode, said)
    (increment,) = corpus.increments()
    done = {record.part for record in increment.records("fetch")}
    under_way = {name: lines for name, lines in journals(corpus, 1).items() if name[:-5] not in done}
    assert len(under_way) >= 2
    assert sum(lines > 0 for lines in under_way.values()) >= begun, under_way

    before = Counter((hit.host, hit.path) for hit in site.hits if hit.path.startswith("/page"))
    add(corpus, dump, site, partitions=4)
    again = Counter((hit.host, hit.path) for hit in site.hits if hit.path.startswith("/page"))
    twice = [page for page, times in again.items() if times > 1]
    assert set(again) == {(host, f"/page/{n}") for host, links in SITES.items() for n in range(links)}
    assert len(twice) <= 4  # what was under way
    assert set(twice) <= set(before)
    whole = make_corpus(dump.parent / "whole")
    add(whole, dump, site)
    assert rows(corpus) == rows(whole)
    add(corpus, dump, site, until="shard")
    assert list(problems(corpus)) == []
    assert not hop_plan.folder(increment).exists()


@pytest.mark.slow(4)
def test_two_commands_share_a_crawl(site: Any, served: Served, dump: Path) -> None:
    served.open.clear()
    corpus = make_corpus(dump.parent / "corpus")
    one = start(corpus, dump, site, partitions=3)
    wait_until(lambda: served.now["all"] == 3, "the requests of the first")
    other = start(corpus, dump, site, partitions=3)
    wait_until(lambda: served.now["all"] == 6, "the requests of both")
    served.open.set()
    for command in (one, other):
        _, said = command.communicate(timeout=patient())
        assert command.returncode == 0, said
    assert Counter(asked(site)) == SITES
    assert {outcome for part in rows(corpus).values() for _, outcome in part} == {"ok"}
    assert max(served.most[name] for name in SITES) == 1


@pytest.mark.slow(1)
def test_a_plan_asks_nothing_and_tells_what_is_left_to_the_crawlers_at_work(
    site: Any, served: Served, dump: Path
) -> None:
    corpus = make_corpus(dump.parent / "corpus")
    increment = add(corpus, dump, site, plan_only=True)
    assert site.hits == []
    left = crawl_left(corpus, increment)
    assert left is not None
    assert (left.partitions, left.done, left.expected.links) == (9, 0, len(served.urls))
    for host in ("a", "b"):
        at_work = new_worker("fetch", 1)
        at_work.name, at_work.machine = host, host
        write_worker(corpus.root, at_work)
    shared = crawl_left(corpus, increment)
    assert shared is not None
    assert shared.expected.partitions == 2 * left.expected.partitions
    last = f"    ends last: {shared.expected.last[0].name} (15 links, "
    assert [line for line in run("status", corpus.root).stdout.splitlines() if line.startswith(last)]
    shutil.rmtree(workers_folder(corpus.root))
    add(corpus, dump, site)
    assert Counter(asked(site)) == SITES
    assert crawl_left(corpus, increment) is None


@pytest.mark.slow(3)
def test_what_is_forgotten_leaves_the_plan_and_is_not_asked(site: Any, served: Served, dump: Path) -> None:
    corpus = make_corpus(dump.parent / "corpus")
    increment = add(corpus, dump, site, plan_only=True)
    plan = hop_plan.find(increment, "round-000-1")
    assert plan is not None
    (hop_plan.folder(increment) / "round-000-2-00000-0.parquet").write_text("long.test: a killed attempt's")
    result("corpus", "forget", corpus.root, "--site", "long.test")
    result("corpus", "forget", corpus.root, "--url", "http://short-1.test/page/2")
    now = hop_plan.find(increment, "round-000-1")
    assert now is not None
    assert [each.name for each in now.partitions] == [each.name for each in plan.partitions]
    planned = [hop_plan.read(corpus.root, each.targets) for each in now.partitions]
    urls = [url for table in planned for url in table["url"].to_pylist() if url]
    assert sorted(urls) == sorted(
        url for url in served.urls if "long.test" not in url and url != "http://short-1.test/page/2"
    )
    assert {site for table in planned for site in table["site"].to_pylist()} == {*SITES, ""} - {"long.test"}
    assert not any(b"long.test" in path.read_bytes() for path in hop_plan.folder(increment).iterdir())
    assert gc.find(corpus) == []

    add(corpus, dump, site, until="shard")
    assert Counter(asked(site)) == {
        name: 4 - (name == "short-1.test") for name in SITES if name != "long.test"
    }
    stages = {stage.stage: stage for stage in funnel(corpus.root)}
    assert stages["fetch"].reasons == {"forgotten": 16}
    assert stages["fetch"].entered == stages["links"].passed
    assert list(problems(corpus)) == []


def test_a_tombstone_written_since_keeps_a_link_out(
    site: Any, served: Served, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another machine forgets while this one crawls, and no lock keeps them apart."""
    corpus = make_corpus(dump.parent / "corpus")
    add(corpus, dump, site, plan_only=True)

    class Later(rounds.Forgotten):
        @staticmethod
        def of(root: Path) -> rounds.Forgotten:
            return rounds.Forgotten(frozenset(), frozenset(["long.test"]), frozenset())

    monkeypatch.setattr(rounds, "Forgotten", Later)
    add(corpus, dump, site)
    assert "long.test" not in asked(site)
    ended = Counter(outcome for part in rows(corpus).values() for _, outcome in part)
    assert ended == {"ok": 24, "forgotten": 15}
