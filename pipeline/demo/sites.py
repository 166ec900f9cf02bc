"""The demo's web as data: which host answers what at which path, with all that goes wrong on a real one.

Pure: from the rendered pages to a table of answers, and the list of links that a crowd would post.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Literal

from pipeline.demo.library import DocPage

LIBRARY = "docs.stdlib.test"
MIRROR = "mirror.archive.test"
SHORTENER = "go.short.test"
FORBIDDEN = "/private/roadmap.html"
HUGE_BYTES = 9 << 20  # over the 8 MiB that a recipe allows a page by default
SLOW_S = 2.0
LONG_CHARS = 6_000  # a page this long stays a near-duplicate after a few small edits

ROBOTS = f"""User-agent: *
Disallow: {FORBIDDEN.rpartition("/")[0]}/
"""

Kind = Literal[
    "page", "duplicate", "mirror", "redirect", "moved", "loop", "missing", "gone", "error", "slow",
    "forbidden", "empty", "huge", "document", "picture",
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """Response of a server to one request."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    location: str = ""
    delay_s: float = 0.0


@dataclass(frozen=True)
class Link:
    """A URL as people would post it, and what awaits whoever follows it."""

    url: str
    title: str
    kind: Kind


@dataclass
class Sites:
    """Every host's answers by path, and the links into them."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def add(self, host: str, path: str, answer: Answer, title: str, kind: Kind) -> None:
        self.answers[host, path] = answer
        self.links.append(Link(f"http://{host}{path}", title, kind))


def build(pages: list[DocPage]) -> Sites:
    """Lay the pages out over their sites and add mirrors, redirects, dead ends and hindrances."""
    sites = Sites()
    unposted = {page.url for page in _spread(pages, 8, offset=5)}  # reached by a redirect only
    slow = pages[len(pages) // 2]
    for page in pages:
        if page is slow:
            sites.add(page.host, page.path, _html(page.html, SLOW_S), page.title, "slow")
        else:
            sites.add(page.host, page.path, _html(page.html), page.title, "page")
    sites.links = [link for link in sites.links if link.url not in unposted]
    _copies(sites, pages)
    _redirects(sites, pages)
    _dead_ends(sites)
    _hindrances(sites, pages)
    for host in sorted({host for host, _ in sites.answers}):
        sites.answers[host, "/"] = _html(_index(host, sites))
        if host != SHORTENER:  # one site has no robots.txt at all
            sites.answers[host, "/robots.txt"] = Answer(body=ROBOTS.encode(), content_type="text/plain")
    return sites


def _copies(sites: Sites, pages: list[DocPage]) -> None:
    """A mirror that copies some pages to the byte, and others with words changed here and there."""
    long = [page for page in pages if len(page.html) >= LONG_CHARS]
    for page in _spread(pages, 12, offset=1):
        path = f"/exact/{page.host}{page.path}"
        sites.add(MIRROR, path, _html(page.html), f"{page.title} (mirror)", "duplicate")
    for page in _spread(long, 24, offset=2):
        path = f"/edited/{page.host}{page.path}"
        sites.add(MIRROR, path, _html(edited(page.html)), f"{page.title}, annotated", "mirror")


def _redirects(sites: Sites, pages: list[DocPage]) -> None:
    for page in _spread(pages, 8, offset=5):
        old = f"/old{page.path}"
        sites.add(page.host, old, Answer(301, location=page.path), page.title, "redirect")
    for number, page in enumerate(_spread(pages, 6, offset=7)):
        sites.add(
            SHORTENER, f"/{number:04x}", Answer(302, location=page.url), f"{page.title} [docs]", "moved"
        )
    sites.add(SHORTENER, "/round", Answer(302, location="/and-round"), "Round and round", "loop")
    sites.answers[SHORTENER, "/and-round"] = Answer(302, location="/round")


def _dead_ends(sites: Sites) -> None:
    for name in (
        "apt",
        "bytecode",
        "closures",
        "decorators",
        "eggs",
        "frames",
        "gil",
        "heaps",
        "idioms",
        "jit",
    ):
        sites.add(LIBRARY, f"/howto/{name}.html", _failure(404, "Not Found"), f"A guide to {name}", "missing")
    for name in ("asyncore", "imp", "distutils", "smtpd"):
        sites.add(LIBRARY, f"/removed/{name}.html", _failure(410, "Gone"), f"The {name} module", "gone")
    answer = _failure(500, "Internal Server Error")
    sites.add(LIBRARY, "/search", answer, "Search the documentation", "error")


def _hindrances(sites: Sites, pages: list[DocPage]) -> None:
    """Pages that come empty, too large, as another kind of file, or that robots.txt forbids."""
    roadmap = _html("<p>Whoever reads this did not read robots.txt.</p>")
    sites.add(LIBRARY, FORBIDDEN, roadmap, "The secret roadmap", "forbidden")
    sites.add(LIBRARY, "/blank.html", _html("<!DOCTYPE html><title>Blank</title>"), "A blank page", "empty")
    whole = bytearray()
    for page in itertools.cycle(pages):
        whole += page.html.encode()
        if len(whole) > HUGE_BYTES:
            break
    sites.add(LIBRARY, "/all.html", Answer(body=bytes(whole)), "The whole manual on one page", "huge")
    pdf = Answer(body=b"%PDF-1.4\n%%EOF\n", content_type="application/pdf")
    sites.add(LIBRARY, "/download/manual", pdf, "The manual for printing", "document")
    dot = b"\x89PNG\r\n\x1a\n"
    sites.add(LIBRARY, "/logo.png", Answer(body=dot, content_type="image/png"), "Our new logo", "picture")


def edited(html: str) -> str:
    """A page with every 12th "the" replaced, as a careless translator or spinner would: some 98 % alike.

    >>> edited("<p>" + "the cat " * 12 + "</p>").count("this cat")
    1
    """
    count = itertools.count(1)
    return re.sub(r"\bthe\b(?=[^<>]*<)", lambda match: match[0] if next(count) % 12 else "this", html)


def _spread(pages: list[DocPage], wanted: int, offset: int) -> list[DocPage]:
    """Up to `wanted` pages, evenly over the whole list; other offsets give other pages."""
    step = max(1, len(pages) // wanted)
    return pages[min(offset, step - 1) :: step][:wanted]


def _html(text: str, delay_s: float = 0.0) -> Answer:
    return Answer(body=text.encode(), delay_s=delay_s)


def _failure(status: int, phrase: str) -> Answer:
    return Answer(status, f"<!DOCTYPE html><title>{phrase}</title><h1>{status} {phrase}</h1>".encode())


def _index(host: str, sites: Sites) -> str:
    links = "".join(
        f'<li><a href="{path}">{path}</a></li>'
        for (h, path) in sites.answers
        if h == host and path != FORBIDDEN
    )
    return (
        f"<!DOCTYPE html><html lang=en><title>{host}</title><h1>{host}</h1><nav><ul>{links}</ul></nav></html>"
    )
