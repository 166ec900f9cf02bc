"""A crawl killed with SIGKILL again and again ends as the undisturbed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from warcio.archiveiterator import ArchiveIterator

from dataprep.crawl.fetch import Fetch, fetch_part

REPOSITORY = Path(__file__).parents[3]
AT_ONCE = 3
KILL_AFTER_HITS = [1, 9, 14, 12]
CHILD = """
import json, sys
from pathlib import Path
from dataprep.crawl.fetch import CrawlSettings, Target, fetch_part
job = json.load(sys.stdin)
targets = [Target(url, bytes.fromhex(key), site) for url, key, site in job["targets"]]
settings = CrawlSettings.model_validate_json(job["settings"])
fetch_part("part", targets, Path(job["pages"]), settings, lambda _: None)
"""


def small_web(site: Any) -> list[str]:
    """Five sites of eight pages, with every kind of end among them."""

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"<p>{request.url}</p>" * 2000, content_type="text/html")

    urls = []
    for name in "abcde":
        host = f"http://{name}.test"
        site.html(f"{host}/robots.txt", "User-agent: *\nDisallow: /denied\n", Content_Type="text/plain")
        urls += [site.serve(f"{host}/page/{number}", page) for number in range(3)]
        urls += [f"{host}/missing", site.serve(f"{host}/denied", page)]
        urls += [site.status(f"{host}/old", 301, Location="/page/0")]
        urls += [site.status(f"{host}/away", 301, Location="http://elsewhere.test/")]
        urls += [site.status(f"{host}/broken", 500)]
    return urls


def kill_in_the_middle(site: Any, job: str, hits: int) -> bool:
    """Run a crawl in a process of its own and kill it when it has made `hits` requests; False if it ended."""
    reached, seen = threading.Event(), iter(range(1, 10_000))

    def count() -> None:
        if next(seen) >= hits:
            reached.set()

    site.on_hit = count
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=REPOSITORY) as child:
        assert child.stdin is not None
        child.stdin.write(job)
        child.stdin.close()
        while not reached.wait(0.02) and child.poll() is None:
            pass
        child.kill()  # SIGKILL
    site.on_hit = lambda: None
    return child.returncode == -signal.SIGKILL


def ends(rows: list[Fetch]) -> list[tuple[str, str, int, str]]:
    return [(row.url, row.outcome, row.status, row.final_url) for row in rows]


def test_killed_at_any_moment_a_crawl_ends_with_the_same_urls_and_outcomes(
    site: Any, settings: Any, as_targets: Any, tmp_path: Path
) -> None:
    urls = small_web(site)
    targets = as_targets(*urls)
    settings = settings.model_copy(update={"concurrency": AT_ONCE, "site_failures": 2})
    undisturbed = fetch_part("part", targets, tmp_path / "undisturbed", settings, lambda _: None)
    once = Counter((hit.host, hit.path) for hit in site.hits)

    pages = tmp_path / "pages"
    job = json.dumps(
        {
            "targets": [(target.url, target.url_key.hex(), target.site) for target in targets],
            "settings": settings.model_dump_json(),
            "pages": str(pages),
        }
    )
    site.hits.clear()
    kills = sum(kill_in_the_middle(site, job, hits) for hits in KILL_AFTER_HITS)
    assert kills >= 2
    rows = fetch_part("part", targets, pages, settings, lambda _: None)

    assert ends(rows) == ends(undisturbed)
    again = Counter((hit.host, hit.path) for hit in site.hits if hit.path != "/robots.txt")
    twice = again - Counter({key: number for key, number in once.items() if key[1] != "/robots.txt"})
    assert twice.total() <= 2 * kills * AT_ONCE  # in flight: a page, and the redirect that led to it
    for row in rows:
        if row.outcome == "ok":
            assert row.final_url.encode() in body(pages, row)
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
    settings = settings.model_copy(update={"site_failures": 3})
    for _ in range(kills):
        rows = fetch_part("part", targets, tmp_path, settings, lambda _: None)
        assert [row.outcome for row in rows] == ["server_error"] * 3 + ["deferred"] * 3
    assert site.paths("a.test") == ["/robots.txt", "/0", "/1", "/2"]
