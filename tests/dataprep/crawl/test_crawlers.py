"""Workers that crawl one corpus together: each site is asked by one, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dataprep import ingest
from dataprep.audit.funnel import funnel
from dataprep.audit.under_way import under_way
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl import hop_plan, partitioning
from dataprep.store.workers import Worker, all_workers, workers_folder
from dataprep.work import is_fetched
from support import cli
from support.cli import result, wait_for
from support.crawls import SITES, loopback, page, rows
from support.kills import kill
from support.patience import patient, wait_until
from support.ready_corpus import make_corpus, no_progress
from support.workers.crawl_worker import LEASE_S, PART_LINKS, SILENT_S, unseen

SCRIPT = Path(__file__).parents[2] / "support" / "workers" / "crawl_worker.py"

Child = subprocess.Popen[str]
Start = Callable[..., Child]


class Served:
    """The pages of SITES, which come when `open` is set; who asked for what, how many of a site at once."""

    def __init__(self, site: Any) -> None:
        self.open = threading.Event()
        self.open.set()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.asked: list[tuple[str, str]] = []
        for name, links in SITES.items():
            for number in range(links):
                site.serve(f"http://{name}/page/{number}", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name, url = request.host, f"http://{request.host}{request.path}"
        _, _, agent = request.headers["User-Agent"].partition("compatible; ")
        self.asked.append((agent.rstrip(")"), url))
        self.now[name] += 1
        self.most[name] = max(self.most[name], self.now[name])
        try:
            await asyncio.sleep(0.02)
            while not self.open.is_set() and request.transport and not request.transport.is_closing():
                await asyncio.sleep(0.01)
            return web.Response(text=page(url), content_type="text/html")
        finally:
            self.now[name] -= 1

    def of(self, agent: str) -> list[str]:
        """The pages that a crawler has asked for."""
        return [url for name, url in self.asked if name == agent]


@pytest.fixture
def served(site: Any) -> Served:
    return Served(site)


@pytest.fixture
def corpus(tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A corpus whose links are made, and nothing is fetched."""
    monkeypatch.setattr(partitioning, "PART_LINKS", PART_LINKS)
    urls = [f"http://{name}/page/{number}" for name, links in SITES.items() for number in range(links)]
    posts = [
        {"id": str(at), "url": url, "created_utc": at, "score": 9, "subreddit": "x"}
        for at, url in enumerate(urls)
    ]
    (tmp_path / "dump.json").write_text("\n".join(map(json.dumps, posts)))
    corpus = make_corpus(tmp_path / "corpus")
    add(corpus, tmp_path, until="links")
    return corpus


def add(corpus: Corpus, folder: Path, until: str, port: int = 0) -> Increment:
    words = (loopback(port), 1, until, no_progress, unseen)
    return ingest.add(corpus, "one", [folder / "dump.json"], *words)


@pytest.fixture
def start(corpus: Corpus, site: Any) -> Iterator[Start]:
    """start(AGENT, changes of settings) starts a worker; those that still run are ended."""
    started: list[Child] = []

    def run(agent: str, **changes: Any) -> Child:
        settings = loopback(site.port, agent=agent, partitions=2, **changes).model_dump_json()
        child = cli.start(corpus.root, settings, python=[str(SCRIPT)])
        started.append(child)
        return child

    yield run
    for child in started:
        child.kill()
        child.communicate()


def worker_of(corpus: Corpus, child: Child) -> Worker:
    (worker,) = (worker for worker in all_workers(corpus.root) if worker.pid == child.pid)
    return worker


def is_whole(corpus: Corpus, served: Served, twice: int = 0) -> None:
    """Every page is stored, each site was asked by one at a time, and few pages were asked for twice."""
    found = rows(corpus)
    assert len(found) == 9
    assert Counter(outcome for part in found.values() for _, outcome in part) == {"ok": sum(SITES.values())}
    times = Counter(url for _, url in served.asked)
    assert sum(times.values()) - len(times) <= twice, times
    assert max(served.most.values()) == 1
    (increment,) = corpus.increments()
    assert is_fetched(corpus, increment)


@pytest.mark.slow(8)
def test_three_workers_share_a_crawl_and_make_what_one_command_makes(
    corpus: Corpus, served: Served, start: Start, site: Any, tmp_path: Path
) -> None:
    served.open.clear()
    workers = [start(agent) for agent in ("a", "b", "c")]
    wait_until(lambda: len({agent for agent, _ in served.asked}) == 3, "requests of all three")
    served.open.set()
    assert all("all links are fetched" in wait_for(worker) for worker in workers)
    is_whole(corpus, served)
    assert sum(worker.made for worker in all_workers(corpus.root)) == 9

    alone = make_corpus(tmp_path / "alone")
    add(alone, tmp_path, "shard", site.port)
    assert rows(corpus) == rows(alone)
    add(corpus, tmp_path, "shard")
    assert list(problems(corpus)) == []
    assert funnel(corpus.root) == funnel(alone.root)


@pytest.mark.slow(5)
def test_a_command_and_a_worker_share_a_crawl(
    corpus: Corpus, served: Served, start: Start, site: Any, tmp_path: Path
) -> None:
    served.open.clear()
    worker = start("worker")
    wait_until(lambda: len(served.of("worker")) == 2, "the worker's requests")
    adding = threading.Thread(target=add, args=(corpus, tmp_path, "fetch", site.port))
    adding.start()
    wait_until(lambda: served.of("outbound"), "the command's requests")
    served.open.set()
    adding.join(patient())
    wait_for(worker)
    is_whole(corpus, served)
    assert [each.stage for each in all_workers(corpus.root)] == ["fetch"]


@pytest.mark.slow(6)
def test_a_killed_worker_is_followed_at_once_by_another_of_its_machine(
    corpus: Corpus, served: Served, start: Start
) -> None:
    served.open.clear()
    killed = start("killed")
    wait_until(lambda: len(served.of("killed")) == 2, "requests of the first")
    other = start("other")
    wait_until(lambda: len(served.of("other")) == 2, "requests of the other")
    held = {part.part for part in worker_of(corpus, killed).open}
    assert len(held) == 2
    kill(killed)
    wait_until(lambda: sum(served.now.values()) == 2, "the end of its requests")
    served.open.set()
    wait_for(other)
    is_whole(corpus, served, twice=2)


@pytest.mark.slow(15)
def test_a_worker_that_slept_asks_nothing_more_when_another_has_taken_over(
    corpus: Corpus, served: Served, start: Start
) -> None:
    slept = start("slept", delay_s=0.3)
    wait_until(lambda: len(served.of("slept")) > 2, "requests of the first")
    slept.send_signal(signal.SIGSTOP)
    before = len(served.of("slept"))
    other = start("other")
    began = time.monotonic()
    wait_for(other)
    assert time.monotonic() - began >= SILENT_S  # then it was held dead
    slept.send_signal(signal.SIGCONT)
    assert "all links are fetched" in wait_for(slept)
    assert len(served.of("slept")) == before
    is_whole(corpus, served, twice=2)


@pytest.mark.slow(10)
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_worker_that_is_asked_to_end_gives_back_what_it_crawls(
    corpus: Corpus, served: Served, start: Start, number: int
) -> None:
    served.open.clear()
    stopped = start("stopped")
    wait_until(lambda: len(served.of("stopped")) == 2, "requests")
    stopped.send_signal(number)
    wait_for(stopped, 75)
    assert worker_of(corpus, stopped).ended == "stopped"
    assert list(corpus.root.rglob("*.claims/*.json")) == []
    served.open.set()
    wait_for(start("other"))
    is_whole(corpus, served, twice=2)


@pytest.mark.slow(6)
def test_a_worker_without_the_web_leaves_all_to_others(corpus: Corpus, served: Served, start: Start) -> None:
    offline = start("offline", connect_to=("::127.0.0.1:1",))
    said = wait_for(offline, 1)
    assert "none of 1 sites answered in a row, so this machine seems to be cut off from the web" in said
    assert rows(corpus) == {}
    wait_for(start("online"))
    assert {outcome for part in rows(corpus).values() for _, outcome in part} == {"ok"}


@pytest.mark.slow(8)
def test_a_worker_that_cannot_write_its_heartbeat_asks_nothing_until_it_can(
    corpus: Corpus, served: Served, start: Start
) -> None:
    worker = start("cut-off", delay_s=0.3)
    wait_until(lambda: len(served.of("cut-off")) > 2, "requests")
    folder = workers_folder(corpus.root)
    away = folder.rename(folder.with_name("away"))
    folder.write_text("as a disk that does not answer")
    wait_until(lambda: _is_still(served, 2 * LEASE_S), "the end of requests")
    assert worker.poll() is None
    folder.unlink()
    away.rename(folder)
    wait_for(worker)
    is_whole(corpus, served, twice=2)


def _is_still(served: Served, seconds: float) -> bool:
    """Whether nothing is asked for so long."""
    before = len(served.asked)
    time.sleep(seconds)
    return len(served.asked) == before


@pytest.mark.slow(8)
def test_what_is_forgotten_while_workers_crawl_does_not_come_back(
    corpus: Corpus, served: Served, start: Start
) -> None:
    workers = [start(agent, delay_s=0.2) for agent in ("a", "b")]
    wait_until(lambda: any("long.test" in url for _, url in served.asked), "a page that will be forgotten")
    result("corpus", "forget", corpus.root, "--site", "long.test")
    before = sum("long.test" in url for _, url in served.asked)
    for worker in workers:
        wait_for(worker)
    assert sum("long.test" in url for _, url in served.asked) == before < SITES["long.test"]
    ends = Counter(outcome for part in rows(corpus).values() for _, outcome in part)
    assert ends == {"ok": sum(SITES.values()) - SITES["long.test"], "forgotten": SITES["long.test"]}
    assert not [path for path in corpus.root.rglob("*.warc.gz") if b"long.test" in path.read_bytes()]


@pytest.mark.slow(6)
def test_a_partition_that_always_fails_is_named_and_the_others_are_done(
    corpus: Corpus, served: Served, start: Start, tmp_path: Path, site: Any
) -> None:
    (increment,) = corpus.increments()
    words = (loopback(site.port), 1, "fetch", no_progress, unseen)
    ingest.add(corpus, "one", [tmp_path / "dump.json"], *words, plan_only=True)
    plan = hop_plan.find(increment, "round-000-1")
    assert plan
    bad = plan.partitions[-1]
    (corpus.root / bad.targets.path).write_bytes(b"PAR1 damaged PAR1")
    said = wait_for(start("a"), 1)
    assert f"the first one {bad.name} after 3 tries" in said
    assert "was altered" in said
    assert len(rows(corpus)) == 8
    (step,) = under_way(corpus).steps
    assert (step.step, step.done, step.parts) == ("fetch", 8, 9)
    assert [(part.part, part.given_up) for part in step.failed] == [(bad.name, True)]
