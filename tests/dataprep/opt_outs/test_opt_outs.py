"""Sites that opted out after their pages came are found, politely, and forgotten on request."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Crawl, NearDuplicates, Recipe, Select
from dataprep.crawl import hop_plan
from dataprep.opt_outs.pages import pages_of
from dataprep.store.workers import OpenPart, forget_worker, new_worker, write_worker
from support import cli
from support.cli import result, run
from support.kills import kill, run_to_the_kill
from support.leaks import contents
from support.patience import wait_until
from support.servers.pywb import write_warc
from support.servers.web import Web

pytestmark = pytest.mark.slow(12)

PAGE = "<html><head><title>{0}</title>{2}</head><body><article><p>{1}</p></article></body></html>"
WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train".split()
HOSTS = ("signal", "usage", "header", "meta", "tdm", "crawlers", "denied", "quiet")
PAGES = 4


def mark(name: object) -> str:
    return f"zyx{name}xyz"


def page(name: str, head: str = "") -> str:
    words = random.Random(name).choices(WORDS, k=150)
    return PAGE.format(name, " ".join([*words[:70], mark(name), *words[70:]]), head)


def crawling(site: Web) -> list[object]:
    return ["--allow-loopback", f"--connect-to=::127.0.0.1:{site.port}", "--delay=0"]


@pytest.fixture
def corpus(site: Web, tmp_path: Path) -> Path:
    """A crawled increment of eight sites that nothing forbids, and a moved page; an imported one of two."""
    posts = []
    for host in HOSTS:
        for n in range(PAGES):
            url = site.html(f"http://{host}.test/{n}", page(f"{host}{n}"))
            posts.append(url)
    site.status("http://short.test/x", 302, Location="http://signal.test/moved")
    site.html("http://signal.test/moved", page("moved"))
    posts.append("http://short.test/x")
    rows = [
        {"id": f"p{n}", "url": url, "score": 9, "created_utc": n, "subreddit": "x"}
        for n, url in enumerate(posts)
    ]
    (tmp_path / "dump.json").write_text("\n".join(map(json.dumps, rows)))
    captures = [
        (f"http://{host}.test/old", "20130803000000", 200, {"Content-Type": "text/html"}, page(host).encode())
        for host in ("archived", "archived-quiet")
    ]
    write_warc(tmp_path / "x.warc.gz", captures)
    root = tmp_path / "corpus"
    recipe = Recipe(
        name="consent",
        collect=Collect(crawl=Crawl(training_crawlers=1)),
        select=Select(near_duplicates=NearDuplicates()),
    )
    Corpus.create(root, recipe)
    result("corpus", "add", root, tmp_path / "dump.json", *crawling(site), "--workers", 1)
    result("corpus", "import", root, tmp_path / "x.warc.gz", "--kind", "warc", "--name", "w", "--workers", 1)
    site.hits.clear()
    return root


def opt_out(site: Web) -> None:
    """Each site says it in another way; `quiet` and `archived-quiet` say nothing."""

    def robots(host: str, text: str) -> None:
        site.html(f"http://{host}.test/robots.txt", text, Content_Type="text/plain")

    robots("signal", "User-agent: *\nContent-Signal: search=yes,ai-train=no\nAllow: /\n")
    robots("usage", "User-agent: *\nContent-Usage: /1 train-ai=n\nAllow: /\n")
    robots("crawlers", "User-agent: GPTBot\nDisallow: /\n")
    robots("denied", "User-agent: outbound\nDisallow: /\n")
    robots("archived", "Content-Signal: ai-train=no\n")
    reserved = json.dumps([{"location": "/", "tdm-reservation": 1}])
    site.html("http://tdm.test/.well-known/tdmrep.json", reserved)
    for n in range(PAGES):
        site.html(f"http://header.test/{n}", page(f"header{n}"), Content_Usage="train-ai=n")
    site.html("http://meta.test/1", page("meta1", '<meta name="robots" content="noai">'))


FOUND = {
    ("signal.test", "robots.txt Content-Signal: ai-train=no"): PAGES + 1,  # one page had moved there
    ("header.test", "Content-Usage: train-ai=n"): PAGES,
    ("tdm.test", "tdmrep.json"): PAGES,
    ("crawlers.test", "robots.txt Disallow: GPTBot"): PAGES,
    ("usage.test", "robots.txt Content-Usage: train-ai=n"): 1,
    ("meta.test", "meta robots: noai"): 1,
    ("archived.test", "robots.txt Content-Signal: ai-train=no"): 1,
}
GONE = {"moved", "usage1", "meta1", "archived"}
GONE |= {f"{host}{n}" for host in ("signal", "header", "tdm", "crawlers") for n in range(PAGES)}
STAYS = {f"{host}{n}" for host in ("denied", "quiet") for n in range(PAGES)}
STAYS |= {"usage0", "meta0", "meta2", "archived-quiet"}


def found(answer: Any) -> dict[tuple[str, str], int]:
    return {(row["site"], row["signal"]): row["documents"] for row in answer["found"] if row["of_training"]}


def marks(root: Path) -> set[str]:
    """Which of the pages' marks stand somewhere in the corpus, decompressed."""
    data = [data for _, data in contents(root)]
    return {name for name in GONE | STAYS if any(mark(name).encode() in each for each in data)}


def test_sites_that_have_opted_out_are_listed_by_signal_and_their_pages_forgotten(
    corpus: Path, site: Web
) -> None:
    never = run("corpus", "opt-outs", corpus)
    assert (never.returncode, "--check" in never.stderr) == (2, True)
    asked = result("corpus", "opt-outs", corpus, "--check", *crawling(site))
    assert (asked["sites"], asked["pages"], asked["found"], asked["unknown"]) == (10, 35, [], {})
    assert run("corpus", "opt-outs", corpus, "--forget").returncode == 0  # of nothing
    assert marks(corpus) == GONE | STAYS

    opt_out(site)
    site.hits.clear()
    asked = result("corpus", "opt-outs", corpus, "--check", *crawling(site))
    assert found(asked) == FOUND
    assert asked["documents"] == sum(FOUND.values())
    assert [row["site"] for row in asked["found"] if not row["of_training"]] == ["denied.test"]
    # robots.txt tells of all pages; where pages tell, all of a host are asked for, else as many as --pages
    assert site.paths("signal.test") == ["/robots.txt"]
    assert site.paths("header.test") == ["/robots.txt", "/0", "/1", "/2", "/3"]
    assert site.paths("quiet.test") == ["/robots.txt", "/0", "/1", "/2"]
    assert not any(hit.host == "short.test" for hit in site.hits)

    site.hits.clear()
    told = run("corpus", "opt-outs", corpus).stdout  # what the last check found, asking nobody
    assert "7 sites with 20 documents have opted out since" in told
    assert "5  signal.test  robots.txt Content-Signal: ai-train=no  http://signal.test/0" in told
    assert "1 sites with 4 documents now shut our agent out" in told
    assert site.hits == []
    assert marks(corpus) == GONE | STAYS

    done = result("corpus", "opt-outs", corpus, "--forget")
    assert done["forgotten"]["documents"] == 20
    assert marks(corpus) == STAYS
    assert result("corpus", "verify", corpus)["problems"] == []
    assert run("corpus", "opt-outs", corpus).returncode == 2  # the list names what was forgotten: it is gone
    asked = result("corpus", "opt-outs", corpus, "--check", *crawling(site))
    assert (found(asked), asked["pages"]) == ({}, 15)
    asked = result("corpus", "opt-outs", corpus, "--check", "--forget", "--denied", *crawling(site))
    assert asked["forgotten"]["documents"] == PAGES
    assert not (corpus / "jobs").exists()


@contextmanager
def under_crawl(site: Web, root: Path, host: str) -> Iterator[None]:
    """A worker of another increment crawls a page of the host."""
    dump = root.parent / "later.json"
    post = {"id": "z", "url": f"http://{host}/later", "score": 9, "created_utc": 99, "subreddit": "x"}
    dump.write_text(json.dumps(post))
    result("corpus", "add", root, dump, "--plan-only", "--workers", 1, *crawling(site))
    increment = Corpus.open(root, remaking=True).increments()[-1]
    plan = hop_plan.find(increment, "round-000-1")
    assert plan
    worker, place = new_worker("fetch", 1), hop_plan.folder(increment).relative_to(root)
    worker.open = [
        OpenPart(step=plan.hop, place=str(place), part=part.name, number=1, since=0)
        for part in plan.partitions
    ]
    write_worker(root, worker)
    yield
    forget_worker(root, worker)


def test_a_check_asks_as_politely_as_the_crawl(corpus: Path, site: Web) -> None:
    site.html("http://quiet.test/robots.txt", "User-agent: *\nCrawl-delay: 0.5\n", Content_Type="text/plain")
    words: list[object] = [*crawling(site)[:-1], "--delay=0.2"]
    with under_crawl(site, corpus, "signal.test"):
        asked = result("corpus", "opt-outs", corpus, "--check", *words)
    assert asked["unknown"] == {"deferred": PAGES + 1}  # a crawl is at that site
    assert site.paths("signal.test") == []
    for host, delay_s in (("quiet.test", 0.5), ("meta.test", 0.2)):
        times = [hit.at for hit in site.hits if hit.host == host]
        assert len(times) == 4
        assert all(later - sooner >= delay_s - 0.02 for sooner, later in pairwise(times))
    refused = run("corpus", "opt-outs", corpus, "--check")
    assert (refused.returncode, "--contact" in refused.stderr) == (2, True)
    nobody = result("corpus", "opt-outs", corpus, "--check", "--contact", "a@b.test", *crawling(site)[1:])
    assert nobody["unknown"] == {"refused_address": 35}


def test_a_check_that_is_killed_goes_on_and_asks_no_page_twice(corpus: Path, site: Web) -> None:
    opt_out(site)
    words = ["corpus", "opt-outs", corpus, "--check", "--pages", 100, *crawling(site)[:-1]]
    child = cli.start(*words, "--delay=0.2", "--concurrency=2")
    journal = corpus / "jobs" / "opt-outs" / "answers.jsonl"
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 8, "nine lines")
    kill(child)
    with journal.open("ab") as file:
        file.write(b'{"url_key":"00')  # half a line, as a full disk leaves it
    assert not (corpus / "opt-outs.json").exists()
    asked = result(*words, "--delay=0")
    requests = Counter((hit.host, hit.path) for hit in site.hits)
    assert found(asked) == FOUND
    twice = {place for place, number in requests.items() if number > 1 and place[1] != "/robots.txt"}
    assert len(twice) <= 2  # what was under way
    assert not journal.exists()


def test_a_budget_of_time_is_gone_on_with_by_the_next_check(corpus: Path, site: Web) -> None:
    opt_out(site)
    first = result("corpus", "opt-outs", corpus, "--check", "--hours", 0, *crawling(site))
    assert (first["found"], first["unknown"]) == ([], {"deferred": 35})
    assert found(result("corpus", "opt-outs", corpus, "--check", *crawling(site))) == FOUND
    assert not (corpus / "jobs").exists()


@pytest.mark.parametrize("change", [3, 20, 60])
def test_a_forget_that_is_killed_is_finished_by_the_same_command(
    corpus: Path, site: Web, change: int
) -> None:
    opt_out(site)
    result("corpus", "opt-outs", corpus, "--check", *crawling(site))
    words = ["corpus", "opt-outs", corpus, "--forget"]
    assert run_to_the_kill("at", change, *words)
    assert run(*words).returncode == 0
    assert marks(corpus) == STAYS
    assert result("corpus", "verify", corpus)["problems"] == []


def test_pages_are_asked_about_where_they_came_from(corpus: Path, tmp_path: Path) -> None:
    pages = pages_of(Corpus.open(corpus))
    addresses = {target.url: target.site for target in pages.targets}
    assert addresses["http://signal.test/moved"] == "signal.test"  # of the link http://short.test/x
    assert len(pages.targets) == pages.documents.total() == 35
    rows = [{"text": page("a"), "url": "http://table.test/a"}, {"text": page("b")}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result("corpus", "import", corpus, tmp_path / "rows.jsonl", "--kind", "jsonl", "--workers", 1)
    pages = pages_of(Corpus.open(corpus))
    assert ("http://table.test/a", 1) in [(target.url, pages.unaddressed) for target in pages.targets]


def test_known_training_crawlers_are_heeded_where_the_command_says_so(site: Web, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    Corpus.create(root, Recipe(name="consent"))
    html = {"Content-Type": "text/html"}
    write_warc(tmp_path / "x.warc.gz", [("http://a.test/", "20130803000000", 200, html, page("a").encode())])
    result("corpus", "import", root, tmp_path / "x.warc.gz", "--kind", "warc", "--workers", 1)
    site.html("http://a.test/robots.txt", "User-agent: GPTBot\nDisallow: /\n", Content_Type="text/plain")
    words: list[object] = ["corpus", "opt-outs", root, "--check", *crawling(site)]
    assert found(result(*words)) == {}
    assert found(result(*words, "--training-crawlers")) == {("a.test", "robots.txt Disallow: GPTBot"): 1}
