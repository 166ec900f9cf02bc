"""`corpus add --crawl FILE` from outside: a web on loopback that notes how it was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataprep.crawl.settings import CrawlSettings
from pipeline.demo.sites import Answer, Sites
from pipeline.demo.web import EmbeddedWeb
from support.cli import result
from support.cli import run as outbound


@pytest.fixture
def web() -> Iterator[EmbeddedWeb]:
    pages = {
        ("site.test", f"/{number}"): Answer(body=b"<p>" + b"a page of some words " * 20)
        for number in range(3)
    }
    with EmbeddedWeb(Sites(pages, [])) as served:
        yield served


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    result("corpus", "init", tmp_path / "corpus", "--recipe", "demo")
    return tmp_path / "corpus"


def dump(path: Path, number: int) -> Path:
    post = {"id": f"p{number}", "url": f"http://site.test/{number}", "score": 9, "created_utc": 100}
    path.write_text(json.dumps(post | {"subreddit": "x"}))
    return path


def crawl_file(folder: Path, web: EmbeddedWeb, more: str = "") -> Path:
    path = folder / "crawl.yaml"
    path.write_text(
        f"contact: file@example.org\nagent: from-file\ndelay_s: 0\nallow_loopback: true\n"
        f"connect_to: ['{web.connect_to}']\n{more}"
    )
    return path


def test_a_crawl_is_done_as_its_file_says_but_for_what_an_option_says(
    tmp_path: Path, corpus: Path, web: EmbeddedWeb
) -> None:
    settings = crawl_file(tmp_path, web)
    words = ["--crawl", settings, "--until", "fetch", "--workers", 1]
    first = result("corpus", "add", corpus, dump(tmp_path / "RS_1.json", 0), *words)
    assert [stage["passed"] for stage in first["funnel"] if stage["stage"] == "fetch"] == [1]
    agents = {request.agent for request in web.requests}
    assert agents == {"Mozilla/5.0 (compatible; from-file; +file@example.org)"}

    web.requests.clear()
    outbound("corpus", "drop", corpus, "1")
    result("corpus", "add", corpus, dump(tmp_path / "RS_2.json", 1), *words, "--agent", "from-option")
    agents = {request.agent for request in web.requests}
    assert agents == {"Mozilla/5.0 (compatible; from-option; +file@example.org)"}


def test_a_mistake_in_the_file_is_wrong_usage_and_begins_nothing(
    tmp_path: Path, corpus: Path, web: EmbeddedWeb
) -> None:
    settings = crawl_file(tmp_path, web, "dealy_s: 1\nmax_redirects: 2\n")
    ended = outbound("corpus", "add", corpus, dump(tmp_path / "RS_1.json", 0), "--crawl", settings)
    assert ended.returncode == 2
    assert f"{settings}: 2 mistakes" in ended.stderr
    assert "dealy_s: unknown key; write delay_s, or remove it" in ended.stderr
    assert (web.requests, list(corpus.glob("increments/*"))) == ([], [])


def test_a_file_that_is_not_there_is_answered_with_the_names_that_are(tmp_path: Path, corpus: Path) -> None:
    ended = outbound("corpus", "add", corpus, dump(tmp_path / "RS_1.json", 0), "--crawl", "nonsense")
    assert (ended.returncode, "not one of the crawls in" in ended.stderr) == (2, True)
    assert "example" in ended.stderr


def test_the_example_lacks_nothing_but_a_contact(tmp_path: Path, corpus: Path) -> None:
    month = dump(tmp_path / "RS_1.json", 0)
    ended = outbound("corpus", "add", corpus, month, "--crawl", "example")
    assert (ended.returncode, "--contact (contact): is missing" in ended.stderr) == (2, True)
    assert outbound("corpus", "add", corpus, month, "--crawl", "example", "--until", "links").returncode == 0


def test_help_shows_the_defaults_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = outbound("corpus", "add", "--help").stdout
    shown = {
        option: re.search(rf"--{option} .*\[default: \((.*?)\)\]", text)
        for option in ("agent", "delay", "concurrency")
    }
    found = {option: match and match[1] for option, match in shown.items()}
    default = CrawlSettings()
    assert found == {
        "agent": default.agent,
        "delay": f"{default.delay_s:g}",
        "concurrency": str(default.concurrency),
    }


@pytest.mark.slow(1)
def test_a_crawl_is_planned_and_its_time_is_told_before_anything_is_asked(
    tmp_path: Path, corpus: Path, web: EmbeddedWeb
) -> None:
    posts = [
        {"id": f"p{n}", "url": f"http://site.test/{n}", "score": 9, "created_utc": 100, "subreddit": "x"}
        for n in range(3)
    ]
    (tmp_path / "RS_1.json").write_text("\n".join(map(json.dumps, posts)))
    settings = crawl_file(tmp_path, web, "partitions: 3\n")
    add = ["corpus", "add", corpus, tmp_path / "RS_1.json", "--crawl", settings, "--workers", 1]
    planned = result(*add, "--plan-only", "--delay", 59.5, "--hours", 0.055)["crawl"]
    assert web.requests == []
    assert (planned["partitions"], planned["done"]) == (1, 0)
    expected = planned["expected"]
    assert (expected["links"], expected["partitions"], expected["seconds"]) == (3, 3, 300.0)
    assert (expected["late_links"], expected["late_sites"]) == (2, 1)
    (state,) = result("corpus", "status", corpus)["increments"]
    assert state["crawl"] == planned
    said = outbound("corpus", "status", corpus).stdout
    assert (
        "0 of 1 partitions done; 3 links of 1 sites, 3 partitions at once, 60.0 s a link: about 5.0 minutes"
        in said
    )
    assert "ends last: site.test (3 links, 5.0 minutes)" in said
    assert "0.055 hours leave 2 links (66.7 %) of 1 sites for later" in said
    result(*add, "--until", "fetch")
    (state,) = result("corpus", "status", corpus)["increments"]
    assert state["crawl"] is None
