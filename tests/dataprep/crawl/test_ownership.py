"""A site has one owner, also when two processes are given it by mistake: the server's own log says so."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dataprep.crawl.ownership import Owners
from support.kills import kill
from support.patience import patient, wait_until

REPOSITORY = Path(__file__).parents[3]
WORKER = """
import json, sys
from pathlib import Path
from dataprep.crawl.partition import CrawlSettings, Target, fetch_part
job = json.load(sys.stdin)
targets = [Target(url, bytes.fromhex(key), site) for url, key, site in job["targets"]]
settings = CrawlSettings.model_validate_json(job["settings"])
rows = fetch_part(job["part"], targets, Path(job["pages"]), settings, lambda _: None)
print(json.dumps([row.outcome for row in rows]))
"""
Worker = subprocess.Popen[str]


class HeldSite:
    """Pages of a.test that are answered when `open` is set; how many requests to it were ever under way."""

    def __init__(self, site: Any) -> None:
        self.open = threading.Event()
        self.first = threading.Event()
        self.under_way = self.most_under_way = 0
        self.urls = [site.serve(f"http://a.test/{page}", self.answer) for page in range(6)]

    async def answer(self, _: web.Request) -> web.StreamResponse:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.first.set()
        try:
            while not self.open.is_set():
                await asyncio.sleep(0.01)
            return web.Response(text="<p>a</p>", content_type="text/html")
        finally:
            self.under_way -= 1


@pytest.fixture
def start(settings: Any, as_targets: Any, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """start(PART, URL..., changes) runs fetch_part in a process of its own."""
    started: list[Worker] = []

    def run(part: str, *urls: str, **changes: object) -> Worker:
        job = {
            "part": part,
            "targets": [(target.url, target.url_key.hex(), target.site) for target in as_targets(*urls)],
            "settings": settings.model_copy(update=changes).model_dump_json(),
            "pages": str(tmp_path / "pages"),
        }
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        started.append(worker)
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(job))
        worker.stdin.close()
        worker.stdin = None
        return worker

    yield run
    for worker in started:
        worker.kill()
        worker.wait()


def ends(worker: Worker) -> list[str]:
    found: list[str] = json.loads(worker.communicate(timeout=patient())[0])
    return found


def wait_for(event: threading.Event) -> None:
    assert event.wait(patient())


def hit_of(site: Any, url: str) -> threading.Event:
    """Set when the server is asked for a page."""
    asked = threading.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        asked.set()
        return web.Response(text="<p>b</p>", content_type="text/html")

    site.serve(url, answer)
    return asked


@pytest.mark.slow(2)
def test_two_processes_never_ask_one_site_at_once(site: Any, start: Callable[..., Worker]) -> None:
    held = HeldSite(site)
    elsewhere = hit_of(site, "http://b.test/")
    one = start("one", *held.urls[:4])
    wait_for(held.first)
    other = start("other", *held.urls[2:], "http://b.test/")
    wait_for(elsewhere)  # the other is at work, and has left the longer queue, a.test, for last
    held.open.set()
    assert ends(one) == ["ok"] * 4
    assert ends(other) == ["ok"] * 5
    assert held.most_under_way == 1
    robots = [at for at, hit in enumerate(site.hits) if (hit.host, hit.path) == ("a.test", "/robots.txt")]
    pages = [(hit.host, hit.path) for hit in site.hits if hit.host == "a.test"]
    assert len(robots) == 2
    assert pages == [("a.test", path) for path in ("/robots.txt", "/0", "/1", "/2", "/3")] + [
        ("a.test", path) for path in ("/robots.txt", "/2", "/3", "/4", "/5")
    ]


@pytest.mark.slow(2)
def test_of_two_processes_with_one_part_the_older_stops_before_the_newer_asks(
    site: Any, start: Callable[..., Worker], tmp_path: Path
) -> None:
    held = HeldSite(site)
    older = start("part", *held.urls)
    wait_for(held.first)
    newer = start("part", *held.urls)
    journal = tmp_path / "pages" / "part-0002.journal"
    wait_until(lambda: journal.exists() or newer.poll() is not None, "the journal of the newer")
    assert newer.poll() is None
    held.open.set()
    assert ends(newer) == ["ok"] * 6
    _, complaint = older.communicate(timeout=patient())
    assert "has taken over part; this one stops" in complaint
    assert held.most_under_way == 1
    asked = [hit.path for hit in site.hits if hit.path != "/robots.txt"]
    assert asked == ["/0", "/0", "/1", "/2", "/3", "/4", "/5"]


@pytest.mark.slow(3)
def test_a_killed_process_owns_nothing(site: Any, start: Callable[..., Worker]) -> None:
    held = HeldSite(site)
    elsewhere = hit_of(site, "http://b.test/")
    killed = start("killed", *held.urls)
    wait_for(held.first)
    other = start("other", *held.urls, "http://b.test/")
    wait_for(elsewhere)
    kill(killed)
    held.open.set()
    assert ends(other) == ["ok"] * 7


@pytest.mark.slow(2)
def test_a_site_that_stays_busy_is_deferred(site: Any, start: Callable[..., Worker]) -> None:
    held = HeldSite(site)
    one = start("one", held.urls[0])
    wait_for(held.first)
    site.html("http://b.test/")
    assert ends(start("other", held.urls[1], "http://b.test/", site_lock_wait_s=0)) == ["deferred", "ok"]
    held.open.set()
    assert ends(one) == ["ok"]


def test_an_owner_who_lets_go_leaves_nothing_behind(tmp_path: Path) -> None:
    one, other = Owners(tmp_path / "owners"), Owners(tmp_path / "owners")
    ownership = one.take("a.test")
    assert ownership is not None
    assert other.take("a.test") is None
    between = other.take("b.test")
    assert between is not None
    between.release()
    ownership.release()
    after = other.take("a.test")
    assert after is not None
    after.release()
    assert list((tmp_path / "owners").iterdir()) == []
