"""What is seen of a crawl while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dataprep.crawl import progress
from dataprep.crawl.partition import CrawlSettings, Target, fetch_part
from dataprep.crawl.progress import View, Watch

AsTargets = Callable[..., list[Target]]


@pytest.fixture(autouse=True)
def looks_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.02)


def test_a_view_shows_queue_outcomes_pace_and_the_slowest_site_while_the_crawl_runs(
    site: Any, tmp_path: Path, settings: CrawlSettings, as_targets: AsTargets
) -> None:
    views: list[View] = []
    held: list[View] = []

    async def hold(_: web.Request) -> web.StreamResponse:
        """Answer once a view has shown that the crawl waits for this page."""
        while not held:
            held.extend(view for view in views[-1:] if view.done == 1 and view.requests == 1)
            await asyncio.sleep(0.01)
        return web.Response(text="<p>at last</p>", content_type="text/html")

    slow = [site.html("http://slow.test/0"), site.serve("http://slow.test/1", hold), "http://slow.test/gone"]
    targets = as_targets(*slow, site.html("http://waits.test/"))
    watch = Watch(views.append, "fetch", len(targets))
    one_owner = settings.model_copy(update={"concurrency": 1})
    fetch_part("part", targets, tmp_path, one_owner, watch.count, watch=watch)

    assert (views[0].done, views[0].total, views[0].time_left_s) == (0, 4, None)
    (view,) = held
    assert (view.sites_waiting, view.sites_under_way, view.outcomes) == (1, 1, {"ok": 1})
    assert [(slowest.name, slowest.left) for slowest in view.slowest] == [("slow.test", 1)]
    assert view.urls_per_s == view.pages_per_s > 0
    assert view.time_left_s is not None
    assert view.time_left_s >= view.slowest[0].time_left_s > 0
    last = views[-1]
    assert last.outcomes == {"ok": 3, "not_found": 1}
    assert (last.done, last.requests, last.sites_waiting, last.time_left_s) == (4, 0, 0, 0.0)


def test_the_time_left_is_at_most_that_of_the_budget_and_the_deferred_are_counted(
    site: Any, tmp_path: Path, settings: CrawlSettings, as_targets: AsTargets
) -> None:
    targets = as_targets(*[site.html(f"http://site.test/{n}") for n in range(200)])
    views: list[View] = []
    watch = Watch(views.append, "fetch", len(targets))
    budget_s = 0.4
    limits = settings.model_copy(update={"delay_s": 0.05, "hours": budget_s / 3600})
    fetch_part("part", targets, tmp_path, limits, watch.count, watch=watch)
    assert all(view.time_left_s <= budget_s for view in views if view.time_left_s is not None)
    assert views[-1].deferred == 200 - views[-1].outcomes.get("ok", 0) > 0


def test_rows_of_an_earlier_run_are_counted_but_do_not_quicken_the_pace(
    site: Any, tmp_path: Path, settings: CrawlSettings, as_targets: AsTargets
) -> None:
    targets = as_targets(*[site.html(f"http://site.test/{n}") for n in range(20)])
    fetch_part("part", targets, tmp_path, settings, lambda _: None)
    views: list[View] = []
    watch = Watch(views.append, "fetch", len(targets))
    fetch_part("part", targets, tmp_path, settings, watch.count, watch=watch)
    assert {view.done for view in views} <= {0, 20}
    assert views[-1].done == 20
    assert {view.urls_per_s for view in views} == {0.0}
