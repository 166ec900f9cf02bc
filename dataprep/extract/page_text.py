"""A page's text, with its title, author and date (trafilatura).

What decides the content is bounds on size, elements and nesting, so that the same page gives the same
document on every machine. `in_sandbox` is what a child process runs, whose time and memory have limits, too.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

import trafilatura
import trafilatura.metadata
from lxml.etree import ElementDefaultClassLookup, XPath
from lxml.html import HtmlComment, HtmlElement, HtmlEntity, HtmlProcessingInstruction
from trafilatura.meta import reset_caches
from trafilatura.utils import HTML_PARSER

from dataprep.corpus.recipe import Extraction
from dataprep.extract.encoding import decoded
from dataprep.extract.page import Page, UnreadablePage, read_page
from dataprep.extract.xpaths import install_fast_xpaths
from dataprep.warc.http_response import media_type

RESET_PAGES = 1000
"""After so many pages trafilatura's caches are emptied, which only ever grow."""

_BINARY = re.compile("[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""What text never holds (mimesniff.spec.whatwg.org, binary data byte)."""
_SNIFFED = 1445
_elements = XPath("count(//*)")
_pages = 0

# lxml.html asks a Python function for the class of every element that is touched, so that forms and inputs
# get their own; no text depends on those, and without it a page takes a twentieth less
HTML_PARSER.set_element_class_lookup(
    ElementDefaultClassLookup(
        element=HtmlElement, comment=HtmlComment, pi=HtmlProcessingInstruction, entity=HtmlEntity
    )
)
install_fast_xpaths("trafilatura")
# what no document keeps is not looked for
trafilatura.metadata.extract_catstags = lambda *_: []
trafilatura.metadata.extract_license = lambda *_: None


def extracted(page: Page, url: str, settings: Extraction) -> dict[str, str | None]:
    """`title`, `author`, `date` and `text` of a page. Raises UnreadablePage.

    The latest date allowed is the day of its capture, never today.
    """
    text = decoded(page.body, page.content_type)
    if media_type(page.content_type) == "text/plain":
        found: dict[str, str | None] = {"title": None, "author": None, "date": None, "text": text}
        if _BINARY.search(text[:_SNIFFED]):
            raise UnreadablePage("binary")
    else:
        found = _from_html(text, page.day, url, settings)
    clean = {name: value and _clean(value) for name, value in found.items()}
    clean["text"] = (clean["text"] or "").strip()
    if not clean["text"]:
        raise UnreadablePage("no_text")
    return clean


def in_sandbox(warc: str, offset: int, length: int, url: str, settings: dict[str, Any]) -> dict[str, Any]:
    """`extracted` of a record, or its `reason`; in types that pass between processes."""
    global _pages
    _pages += 1
    if _pages % RESET_PAGES == 0:
        reset_caches()
    extraction = Extraction.model_construct(**settings)
    try:
        return extracted(read_page(Path(warc), offset, length, extraction.max_bytes), url, extraction)
    except UnreadablePage as reason:
        return {"reason": str(reason)}


def _from_html(html: str, day: str, url: str, settings: Extraction) -> dict[str, str | None]:
    try:
        tree = trafilatura.load_html(html)
        if tree is None:
            raise UnreadablePage("no_text")
        if _elements(tree) > settings.max_elements:
            raise UnreadablePage("too_many_elements")
        if _deeper_than(settings.max_depth)(tree):
            raise UnreadablePage("too_deep")
        found = trafilatura.bare_extraction(
            tree,
            url=url,
            with_metadata=True,
            date_extraction_params={"max_date": day, "extensive_search": False, "original_date": True},
            favor_precision=settings.favor_precision,
            include_comments=settings.include_comments,
            include_tables=settings.include_tables,
        )
    except (UnreadablePage, MemoryError):
        raise
    except Exception as error:  # a hostile page may break the parser anywhere; it costs this page only
        raise UnreadablePage(f"extractor_{type(error).__name__}") from None
    if found is None:
        raise UnreadablePage("no_text")
    return {"title": found.title, "author": found.author, "date": found.date, "text": found.text}


def _clean(text: str) -> str:
    """In Unicode's composed form (NFC), without lone surrogates, which no UTF-8 can hold."""
    return normalize("NFC", text.encode("utf-8", "replace").decode())


@cache
def _deeper_than(depth: int) -> XPath:
    """Whether an element has so many above it; asked in C, since Python takes longer for it than parsing."""
    return XPath(f"boolean({'/*' * (depth + 1)})")
