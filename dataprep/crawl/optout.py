"""Opt-outs of training: what a host, a response or a page says about machines that learn from it.

Four conventions are honoured. `noai` and `noimageai` are directives beside those for search engines, in the
X-Robots-Tag header or in a robots meta element. The TDM Reservation Protocol (W3C community group report,
2024) is how rights under article 4 of EU directive 2019/790 are reserved: `tdm-reservation: 1` as a header,
as a meta element, or by path in /.well-known/tdmrep.json. Content-Usage (IETF AIPREF) and Content-Signal are
headers, too, and lines of robots.txt (`robots_txt.py`). Directives for search engines, such as `noindex`, say
nothing of training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser

from dataprep.crawl.path_patterns import PathPattern, path_of
from dataprep.crawl.usage_preferences import (
    CONTENT_SIGNAL,
    CONTENT_USAGE,
    forbids_training,
    signals_no_training,
)

NO_TRAINING = frozenset(["noai", "noimageai"])
RESERVATION = "tdm-reservation"
ARCHIVED = "x-archive-orig-"
"""What the Wayback Machine puts before the names of the headers that it captured."""
HEAD_BYTES = 1 << 16
"""How much of a page is looked through for meta elements, which stand in its head."""

_META = re.compile(rb"<meta\b[^<]*", re.IGNORECASE)
_WORDS = tuple(word.encode() for word in (*NO_TRAINING, RESERVATION))


def header_opt_out(headers: Iterable[tuple[str, str]], agent: str) -> str:
    """What in a response's headers opts out of training, "" if nothing does.

    >>> header_opt_out([("X-Robots-Tag", "otherbot: noai, noindex"), ("TDM-Reservation", "1")], "outbound")
    'tdm-reservation: 1'
    >>> header_opt_out([("Content-Usage", "train-ai=n"), ("content-usage", "search=y")], "outbound")
    'Content-Usage: train-ai=n'
    """
    usage, signal = list[str](), list[str]()
    for name, value in headers:
        match name.lower().removeprefix(ARCHIVED):
            case "tdm-reservation" if value.strip() == "1":
                return f"{RESERVATION}: 1"
            case "x-robots-tag" if directive := _forbids(value, agent):
                return f"X-Robots-Tag: {directive}"
            case "content-usage":
                usage.append(value)
            case "content-signal":
                signal.append(value)
    if usage and forbids_training(", ".join(usage)):  # several are one dictionary (RFC 9651, section 4.2)
        return CONTENT_USAGE
    return CONTENT_SIGNAL if signals_no_training(", ".join(signal)) else ""


def page_opt_out(head: bytes, agent: str) -> str:
    """What in the beginning of an HTML page opts out of training, "" if nothing does.

    >>> page_opt_out(b"<head><META content='index, NOAI' name=robots></head>", "outbound")
    'meta robots: noai'
    """
    ascii_like = head.replace(b"\0", b"")  # without zeros, UTF-16 reads like ASCII
    metas = b"".join(_META.findall(ascii_like)).lower()
    if not any(word in metas for word in _WORDS):  # as for nearly all pages: parsing is slow
        return ""
    found = _Metas()
    # html.parser raises on a marked section that it does not know; a comment it can skip
    found.feed(ascii_like.lower().decode("latin-1").replace("<![", "<!"))
    for name, content in found.metas:
        if name == RESERVATION and content.strip() == "1":
            return f"meta {RESERVATION}: 1"
        if name in ("robots", agent.lower()) and (directive := _forbids(content, agent)):
            return f"meta {name}: {directive}"
    return ""


@dataclass(frozen=True)
class Reservations:
    """The rules of a tdmrep.json in order: a pattern of paths, and whether rights are reserved there."""

    rules: tuple[tuple[PathPattern, bool], ...] = ()

    @staticmethod
    def parse(text: str) -> Reservations:
        """Read a tdmrep.json; what is not one reserves nothing.

        >>> reserved = Reservations.parse('[{"location": "/a/*.html$", "tdm-reservation": 1}]')
        >>> reserved.reserve("http://a.test/a/b.html"), reserved.reserve("http://a.test/a/b.html?c")
        (True, False)
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return Reservations()
        rules = [rule for rule in document if isinstance(rule, dict)] if isinstance(document, list) else []
        return Reservations(
            tuple(
                (PathPattern.of(str(rule["location"])), str(rule.get(RESERVATION)) in ("1", "True"))
                for rule in rules
                if "location" in rule
            )
        )

    def reserve(self, url: str) -> bool:
        """Whether the first rule that matches a URL's path reserves it."""
        path = path_of(url)
        return next((reserved for pattern, reserved in self.rules if pattern.matches(path)), False)


def _forbids(directives: str, agent: str) -> str:
    """The directive against training in a list of them, each `NAME` or, for the rest of it, `AGENT: NAME`."""
    for_us = True
    for piece in directives.lower().split(","):
        name, colon, rest = piece.partition(":")
        if colon and name.strip() not in _WITH_VALUES:
            for_us = name.strip() == agent.lower()
        directive = (rest if colon else name).strip()
        if for_us and directive in NO_TRAINING:
            return directive
    return ""


_WITH_VALUES = frozenset(["max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"])
"""Directives whose colon names no agent."""


class _Metas(HTMLParser):
    """Collects (name, content) of meta elements; comments and scripts are none."""

    def __init__(self) -> None:
        super().__init__()
        self.metas: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            values = dict(attrs)
            self.metas.append(((values.get("name") or "").strip(), values.get("content") or ""))
