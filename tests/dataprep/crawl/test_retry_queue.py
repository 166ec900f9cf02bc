"""`--retry-failed`: temporary failures are fetched again in the open increment; no closed fact changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dataprep import ingest
from dataprep.audit.funnel import funnel
from dataprep.audit.trace import trace
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl import retry_queue, rounds
from dataprep.crawl.outcomes import OUTCOMES, Kind, is_temporary, outcome_of_status
from dataprep.errors import DataError
from dataprep.shards.text_shards import read_documents
from dataprep.store.files import read_table
from support.ready_corpus import make_corpus, no_progress

PROSE = "The {name} of the old town is quiet in winter, and the boats lie still under the snow. " * 8
PAGE = "<html><head><title>T</title></head><body><article><p>{}</p></article></body></html>"


TEMPORARY = (
    "dns_error connect_error proxy_error timeout incomplete server_error robots_unavailable not_in_archive "
    "bad_capture deferred"
)
PERMANENT = (
    "not_found http_error robots_denied opted_out forgotten wrong_type too_large redirect_loop bad_url "
    "bad_http bad_encoding no_such_host refused_address refused_port tls_error"
)


@pytest.mark.parametrize(
    ("outcomes", "kind"),
    [("ok moved", Kind.DONE), (TEMPORARY, Kind.TEMPORARY), (PERMANENT, Kind.PERMANENT)],
    ids=["done", "temporary", "permanent"],
)
def test_every_outcome_is_of_one_kind(outcomes: str, kind: Kind) -> None:
    assert {outcome for outcome, its in OUTCOMES.items() if its is kind} == set(outcomes.split())
    assert all(is_temporary(outcome) == (kind is Kind.TEMPORARY) for outcome in outcomes.split())


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        ("not_found", [404, 410]),
        ("server_error", [408, 425, 429, 500, 503, 599]),
        ("http_error", [400, 401, 403, 407, 409, 411, 426, 428, 430, 451, 499]),
    ],
)
def test_every_status_has_its_outcome(outcome: str, statuses: list[int]) -> None:
    assert {outcome_of_status(status) for status in statuses} == {outcome}


class Flaky:
    """A page of a site that answers 503 until it is mended."""

    def __init__(self, site: Any, url: str) -> None:
        self.broken = True
        self.text = PROSE.format(name=url)
        self.url = site.serve(url, self.answer)

    async def answer(self, _: web.Request) -> web.StreamResponse:
        if self.broken:
            return web.Response(status=503)
        return web.Response(text=PAGE.format(self.text), content_type="text/html")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "corpus")


Add = Callable[..., Increment]


@pytest.fixture
def add(tmp_path: Path, corpus: Corpus, settings: Any) -> Add:
    """add(NAME, URL..., until=, retry_failed=) ingests a dump of these links; keywords change settings."""

    def run(
        name: str, *urls: str, until: str = "shard", retry_failed: bool = False, **changes: Any
    ) -> Increment:
        dump = tmp_path / f"{name}.json"
        posts = [
            {"id": f"{name}{at}", "url": url, "score": 5 + at, "created_utc": 100 + at, "subreddit": "x"}
            for at, url in enumerate(urls)
        ]
        if urls:
            dump.write_text("\n".join(map(json.dumps, posts)))
        changed = settings.model_copy(update=changes)
        return ingest.add(corpus, name, [dump], changed, 1, until, no_progress, unseen, retry_failed)

    return run


@contextmanager
def unseen(_: Increment) -> Iterator[Callable[[object], None]]:
    yield lambda _: None


def files(increment: Increment) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in increment.path.rglob("*") if path.is_file()}


def fetched(corpus: Corpus) -> dict[str, int]:
    """Links by how they ended; the funnel's own sums are checked on the way."""
    stages = {count.stage: count for count in funnel(corpus.root)}
    assert stages["fetch"].entered == stages["links"].passed
    return {"ok": stages["fetch"].passed, **stages["fetch"].reasons}


def paths(site: Any) -> list[str]:
    return [hit.path for hit in site.hits if hit.host == "a.test" and hit.path.startswith("/page")]


@pytest.mark.slow(2)
def test_what_failed_in_a_closed_increment_is_fetched_by_the_next(
    site: Any, corpus: Corpus, add: Add
) -> None:
    flaky = Flaky(site, "http://a.test/page1")
    gone = "http://a.test/page2"
    first = add("one", flaky.url, gone)
    assert fetched(corpus) == {"ok": 0, "server_error": 1, "not_found": 1}
    before = files(first)

    flaky.broken = False
    good = site.html("http://b.test/", PAGE.format(PROSE.format(name="harbour")))
    second = add("two", good, retry_failed=True)
    assert fetched(corpus) == {"ok": 2, "not_found": 1}
    assert paths(site) == ["/page1", "/page2", "/page1"]
    assert files(first) == before
    table = read_table(corpus.root, second.outputs("extract", "documents"))
    rows = {row["url"]: row for row in table.to_pylist()}
    assert (rows[flaky.url]["karma"], rows[flaky.url]["first_seen"]) == (5, 100)
    texts = [doc["text"] for tar in corpus.root.glob("builds/*/*/shard/*.tar") for doc in read_documents(tar)]
    assert flaky.text.strip() in texts
    traced = trace(corpus, rows[flaky.url]["doc_id"].hex())
    assert [post["id"] for post in traced["submissions"]] == ["one0"]
    assert list(problems(corpus)) == []


@pytest.mark.slow(1)
def test_nothing_to_retry_is_no_mistake(site: Any, corpus: Corpus, add: Add) -> None:
    for name in ("one", "two"):
        add(name, site.html(f"http://{name}.test/", PAGE.format(PROSE.format(name=name))), retry_failed=True)
    opened = site.html("http://three.test/", PAGE.format(PROSE.format(name="harbour")))
    add("three", opened, until="fetch", retry_failed=True)
    add("three", opened, retry_failed=True)
    assert fetched(corpus) == {"ok": 3}
    assert list(problems(corpus)) == []


@pytest.mark.slow(2)
def test_what_still_fails_is_queued_again_by_the_increment_after_that(
    site: Any, corpus: Corpus, add: Add
) -> None:
    flaky = Flaky(site, "http://a.test/page1")
    add("one", flaky.url)
    add("two", "http://b.test/missing", retry_failed=True)
    assert fetched(corpus) == {"ok": 0, "not_found": 1, "server_error": 1}
    flaky.broken = False
    add("three", "http://b.test/missing2", retry_failed=True)
    assert fetched(corpus) == {"ok": 1, "not_found": 2}


def test_without_the_flag_nothing_is_asked_again(site: Any, corpus: Corpus, add: Add) -> None:
    add("one", Flaky(site, "http://a.test/page1").url)
    add("two", "http://b.test/missing")
    assert paths(site) == ["/page1"]


@pytest.mark.slow(1)
def test_an_open_increment_takes_one_more_round_a_call(site: Any, corpus: Corpus, add: Add) -> None:
    flaky = Flaky(site, "http://a.test/page1")
    add("one", flaky.url, until="fetch")
    add("one", until="fetch", retry_failed=True)
    flaky.broken = False
    add("one", until="fetch", retry_failed=True)
    add("one")
    assert paths(site) == ["/page1"] * 3
    assert fetched(corpus) == {"ok": 1}


@pytest.mark.slow(1)
def test_a_page_that_moved_and_then_failed_is_followed_again(site: Any, corpus: Corpus, add: Add) -> None:
    flaky = Flaky(site, "http://b.test/new")
    add("one", site.status("http://a.test/page1", 301, Location=flaky.url), until="fetch")
    flaky.broken = False
    add("one", retry_failed=True)
    assert fetched(corpus) == {"ok": 1}


@pytest.mark.slow(1)
def test_a_retry_that_was_stopped_is_finished_by_any_call_and_not_begun_twice(
    site: Any, corpus: Corpus, add: Add
) -> None:
    flaky = Flaky(site, "http://a.test/page1")
    retry_queue.queue(corpus, add("one", flaky.url, until="fetch"))
    add("one", until="fetch", retry_failed=True)
    assert paths(site) == ["/page1"] * 2
    retry_queue.queue(corpus, corpus.increment("one"))
    flaky.broken = False
    add("one")
    assert fetched(corpus) == {"ok": 1}
    again = add("one", retry_failed=True)  # as Slurm runs a requeued command again
    assert again.closed
    assert paths(site) == ["/page1"] * 3


def test_a_closed_increment_says_where_its_failures_are_fetched_again(
    site: Any, corpus: Corpus, add: Add
) -> None:
    add("one", Flaky(site, "http://a.test/page1").url)
    with pytest.raises(DataError, match="by the next increment: give --retry-failed"):
        add("one", retry_failed=True)


@pytest.mark.slow(1)
@pytest.mark.parametrize("again", [False, True])
def test_a_kill_between_the_step_files_of_fetch_and_retry_costs_nothing(
    site: Any, corpus: Corpus, add: Add, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    add("one", Flaky(site, "http://a.test/page1").url, until="fetch")
    add("one", until="fetch", retry_failed=True)
    finish_led, finished = rounds.finish_led, list[str]()

    def dies(place: Path, step: str, inputs: dict[str, str]) -> object:
        if finished:
            raise KeyboardInterrupt
        finished.append(step)
        return finish_led(place, step, inputs)

    monkeypatch.setattr(rounds, "finish_led", dies)
    with pytest.raises(KeyboardInterrupt):
        add("one")
    monkeypatch.undo()
    assert len(list(corpus.increment("one").path.glob("*.step.json"))) == 2, "links, and one of the two"
    assert add("one", retry_failed=again).closed
    assert fetched(corpus) == {"ok": 0, "server_error": 1}
    assert paths(site) == ["/page1"] * 2
    assert list(problems(corpus)) == []


def test_a_fetch_that_another_command_finishes_meanwhile_takes_no_more_pages(
    site: Any, corpus: Corpus, add: Add
) -> None:
    flaky = Flaky(site, "http://a.test/page1")
    increment = add("one", flaky.url, until="fetch")

    async def finish_and_answer(_: web.Request) -> web.StreamResponse:
        rounds.finish(increment)
        return web.Response(text=PAGE.format(flaky.text), content_type="text/html")

    site.serve(flaky.url, finish_and_answer)
    with pytest.raises(DataError, match="another command has finished fetching"):
        add("one", until="fetch", retry_failed=True)
    assert add("one").closed
    assert fetched(corpus) == {"ok": 0, "server_error": 1}
    assert list(problems(corpus)) == []


def test_a_retry_asks_only_for_what_is_not_stored_yet(site: Any, corpus: Corpus, add: Add) -> None:
    """A link that failed leads, once mended, to a page that another link has brought already."""
    conditions: list[str | None] = []

    async def page(request: web.Request) -> web.StreamResponse:
        conditions.append(request.headers.get("If-None-Match"))
        if conditions[-1] == '"v1"':
            return web.Response(status=304)
        text = PAGE.format(PROSE.format(name="harbour"))
        return web.Response(text=text, content_type="text/html", headers={"ETag": '"v1"'})

    stored = site.serve("http://a.test/page1", page)
    site.status("http://a.test/page2", 503)
    add("one", stored, "http://a.test/page2", until="fetch")
    site.status("http://a.test/page2", 301, Location="/page1")
    increment = add("one", retry_failed=True)
    assert conditions == [None, '"v1"']
    assert fetched(corpus) == {"ok": 2}
    documents = read_table(corpus.root, increment.outputs("extract", "documents"))
    assert documents["text"].to_pylist() == [PROSE.format(name="harbour").strip()] * 2
    assert list(problems(corpus)) == []


def test_a_budget_is_the_whole_calls_and_what_it_leaves_is_deferred_to_a_later_increment(
    site: Any, corpus: Corpus, add: Add
) -> None:
    urls = [site.html(f"http://{name}.test/page") for name in "abc"]
    add("one", *urls, hours=0, retry_failed=True)
    assert fetched(corpus) == {"ok": 0, "deferred": 3}
    assert site.hits == []
    add("two", site.html("http://d.test/"), retry_failed=True)
    assert fetched(corpus) == {"ok": 4}
