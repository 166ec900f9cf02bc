"""A check that was stopped goes on from its journal, unless it asks something else or is long past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dataprep.crawl.targets import Target
from dataprep.opt_outs.ask import KEPT, Question, ask
from support.crawls import loopback, targets
from support.servers.web import Web


def asked(site: Web, home: Path, *urls: str, **changes: Any) -> list[tuple[str, str]]:
    """How the pages ended; one page of a host is asked for."""
    pages, settings, ticked = targets(*urls), loopback(site.port, **changes), list[int]()
    journal = home / "journal"
    _, answers = ask(pages, settings, 1, journal=journal, tick=ticked.append)
    assert sum(ticked) == len(urls)
    return [(answers[page.url_key].outcome, answers[page.url_key].signal) for page in pages]


@pytest.mark.parametrize("end", [b"", b'{"url_key":"ab', b"\xff\xfe\n", b"\n"])
def test_a_journal_is_adopted_up_to_its_last_whole_line(site: Web, tmp_path: Path, end: bytes) -> None:
    urls = [site.html(f"http://a.test/{n}", Content_Usage="train-ai=n") for n in range(3)]
    assert asked(site, tmp_path, *urls) == [("opted_out", "Content-Usage: train-ai=n")] * 3
    lines = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(lines + end)
    site.hits.clear()
    urls.append(site.html("http://a.test/new"))
    assert asked(site, tmp_path, *urls)[-1] == ("ok", "")
    assert site.paths("a.test") == ["/robots.txt", "/new"]
    assert len((tmp_path / "journal").read_bytes().splitlines()) == 5


@pytest.mark.parametrize("change", ["agent", "training_crawlers", "age", "damage"])
def test_another_question_begins_anew(site: Web, tmp_path: Path, change: str) -> None:
    url = site.html("http://a.test/", X_Robots_Tag="other: noai")
    assert asked(site, tmp_path, url) == [("ok", "")]
    site.html("http://a.test/robots.txt", "User-agent: GPTBot\nDisallow: /\n", Content_Type="text/plain")
    assert asked(site, tmp_path, url) == [("ok", "")]  # as it was
    if change == "agent":
        assert asked(site, tmp_path, url, agent="other") == [("opted_out", "X-Robots-Tag: noai")]
    elif change == "training_crawlers":
        assert asked(site, tmp_path, url, training_crawlers=1) == [
            ("opted_out", "robots.txt Disallow: GPTBot")
        ]
    else:
        first, _, rest = (tmp_path / "journal").read_bytes().partition(b"\n")
        begun = msgspec.json.decode(first, type=Question)
        old = msgspec.structs.replace(begun, began=datetime.now(UTC) - KEPT - timedelta(hours=1))
        head = msgspec.json.encode(old) if change == "age" else first[:-3]
        (tmp_path / "journal").write_bytes(head + b"\n" + rest)
        site.hits.clear()
        assert asked(site, tmp_path, url) == [("ok", "")]
        assert site.paths("a.test") == ["/robots.txt", "/"]


def test_a_page_to_which_two_links_led_is_asked_for_once(site: Web, tmp_path: Path) -> None:
    url = site.html("http://a.test/page", X_Robots_Tag="noai")
    links = [Target(url, bytes([number] * 16), "a.test") for number in range(3)]
    journal = tmp_path / "journal"
    _, answers = ask(links, loopback(site.port), 3, journal=journal, tick=lambda _: None)
    assert [answer.outcome for answer in answers.values()] == ["opted_out"] * 3
    assert site.paths("a.test") == ["/robots.txt", "/page"]


def test_a_site_that_shuts_us_out_may_forbid_training_beside(site: Web, tmp_path: Path) -> None:
    shut = "User-agent: *\nDisallow: /\n"
    site.html("http://a.test/robots.txt", f"{shut}Content-Signal: ai-train=no\n", Content_Type="text/plain")
    site.html("http://b.test/robots.txt", shut, Content_Type="text/plain")
    signal = "robots.txt Content-Signal: ai-train=no"
    denied = [("robots_denied", signal), ("robots_denied", "")]
    assert asked(site, tmp_path, "http://a.test/", "http://b.test/") == denied


def test_all_pages_of_a_host_are_asked_for_where_one_opts_out_also_several_at_once(
    site: Web, tmp_path: Path
) -> None:
    urls = [site.html(f"http://a.test/{n}", Content_Usage="train-ai=n") for n in range(4)]
    found = asked(site, tmp_path, *urls, site_concurrency=4)
    assert found == [("opted_out", "Content-Usage: train-ai=n")] * 4


def test_a_check_that_goes_on_asks_for_no_more_pages_than_one_call_would(site: Web, tmp_path: Path) -> None:
    urls = [site.html(f"http://a.test/{n}") for n in range(4)]
    assert asked(site, tmp_path, *urls[:2]) == [("ok", "")] * 2
    assert asked(site, tmp_path, *urls) == [("ok", "")] * 4
    assert [path for path in site.paths("a.test") if path != "/robots.txt"] == ["/0"]
