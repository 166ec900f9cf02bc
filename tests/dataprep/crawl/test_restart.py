"""A crawl killed with SIGKILL again and again ends as the undisturbed one."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from warcio.archiveiterator import ArchiveIterator

from dataprep.crawl.partition import Fetch, fetch_part
from support.kills import was_killed
from support.patience import patient

pytestmark = pytest.mark.slow(20)

REPOSITORY = Path(__file__).parents[3]
AT_ONCE = 4
VISIT_REQUESTS = 2
"""What one visit may have asked for when it was killed: a page, and the redirect that led to it."""
CHILD = """
import json, sys
from pathlib import Path
from dataprep.crawl.partition import CrawlSettings, Target, fetch_part
job = json.load(sys.stdin)
targets = [Target(url, bytes.fromhex(key), site) for url, key, site in job["targets"]]
settings = CrawlSettings.model_validate_json(job["settings"])
fetch_part("part", targets, Path(job["pages"]), settings, lambda _: None)
"""


def small_web(site: Any) -> list[str]:
    """Sixteen sites of twenty links, with every kind of end among them, and one that is out of order."""

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"<p>{request.url}</p>" * 500, content_type="text/html")

    urls = []
    for number in range(16):
        host = f"http://site-{number}.test"
        site.html(f"{host}/robots.txt", "User-agent: *\nDisallow: /denied\n", Content_Type="text/plain")
        urls += [site.serve(f"{host}/page/{number}", page) for number in range(15)]
        urls += [f"{host}/missing", site.serve(f"{host}/denied", page)]
        urls += [site.status(f"{host}/old", 301, Location="/new"), site.status(f"{host}/broken", 500)]
        urls += [site.status(f"{host}/away", 301, Location="http://elsewhere.test/")]
        site.serve(f"{host}/new", page)
    return urls + [site.status(f"http://failing.test/{number}", 500) for number in range(9)]


def kill_at(site: Any, job: str, hits: int, then_s: float) -> bool:
    """Run a crawl in a process of its own and kill it `then_s` after a request; False if it ended before."""
    seen = count(1)

    def kill_soon() -> None:
        if next(seen) == hits:  # a moment in the middle of whatever comes after that request
            threading.Timer(then_s, child.kill).start()

    site.on_hit = kill_soon
    command = [sys.executable, "-c", CHILD]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    _, said = child.communicate(job, timeout=patient())
    site.on_hit = lambda: None
    return was_killed(child.returncode, said)


def ends(rows: list[Fetch]) -> list[tuple[str, str, int, str]]:
    return [(row.url, row.outcome, row.status, row.final_url) for row in rows]


@pytest.mark.parametrize(("kills", "seed"), [(6, 1), (20, 2)])
def test_killed_at_random_moments_a_crawl_ends_with_the_same_urls_and_outcomes(
    site: Any, settings: Any, as_targets: Any, tmp_path: Path, kills: int, seed: int
) -> None:
    targets = as_targets(*small_web(site))
    settings = settings.model_copy(update={"concurrency": AT_ONCE, "max_site_failures": 2})
    undisturbed = fetch_part("part", targets, tmp_path / "undisturbed", settings, lambda _: None)
    assert max(Counter((hit.host, hit.path) for hit in site.hits).values()) == 1

    pages = tmp_path / "pages"
    # A server may log a request after its crawler was killed, so each attempt says which it is.
    names = [f"attempt-{number}@example.test" for number in range(kills + 1)]
    rng = random.Random(seed)
    for name in names[:-1]:
        job = json.dumps(
            {
                "targets": [(target.url, target.url_key.hex(), target.site) for target in targets],
                "settings": settings.model_copy(update={"contact": name}).model_dump_json(),
                "pages": str(pages),
            }
        )
        assert kill_at(site, job, rng.randint(1, len(targets) // (2 * kills)), rng.uniform(0, 0.005))
    last = settings.model_copy(update={"contact": names[-1]})
    rows = fetch_part("part", targets, pages, last, lambda _: None)
    attempts = [asked(site, name) for name in names]
    assert sum(map(bool, attempts)) > kills // 2

    assert ends(rows) == ends(undisturbed)
    nothing_is_asked_twice_but_what_was_in_flight(attempts)
    every_record_is_readable(pages)
    for row in rows:
        if row.outcome == "ok":
            assert row.final_url.encode() in body(pages, row)


def asked(site: Any, name: str) -> list[tuple[str, str]]:
    """(host, path) of the pages that an attempt asked for; robots.txt is asked for by every attempt."""
    hits = [hit for hit in site.hits if f"+{name})" in hit.headers["User-Agent"]]
    return [(hit.host, hit.path) for hit in hits if hit.path != "/robots.txt"]


def nothing_is_asked_twice_but_what_was_in_flight(attempts: list[list[tuple[str, str]]]) -> None:
    """By the server's own log: what a later attempt asks for again was under way when this one was killed."""
    for number, pages in enumerate(attempts):
        assert len(pages) == len(set(pages))
        by_host = defaultdict(list)
        for host, path in pages:
            by_host[host].append(path)
        last = {(host, path) for host, paths in by_host.items() for path in paths[-VISIT_REQUESTS:]}
        again = set(pages) & {page for later in attempts[number + 1 :] for page in later}
        assert again <= last
        assert len({host for host, _ in again}) <= AT_ONCE


def every_record_is_readable(pages: Path) -> None:
    for path in pages.glob("*.warc.gz"):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, check_digests="raise"):
                record.content_stream().read()


def body(pages: Path, row: Fetch) -> bytes:
    with (pages / row.warc_file).open("rb") as file:
        file.seek(row.warc_offset)
        record = next(ArchiveIterator(BytesIO(file.read(row.warc_length))))
        content: bytes = record.content_stream().read()
    return content


@pytest.mark.parametrize("kills", [3])
def test_a_site_that_kept_failing_before_a_kill_is_not_asked_afresh(
    site: Any, settings: Any, as_targets: Any, tmp_path: Path, kills: int
) -> None:
    targets = as_targets(*[site.status(f"http://a.test/{page}", 500) for page in range(6)])
    settings = settings.model_copy(update={"max_site_failures": 3})
    for _ in range(kills):
        rows = fetch_part("part", targets, tmp_path, settings, lambda _: None)
        assert [row.outcome for row in rows] == ["server_error"] * 3 + ["deferred"] * 3
    assert site.paths("a.test") == ["/robots.txt", "/0", "/1", "/2"]
