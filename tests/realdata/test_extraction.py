"""Real pages: what their text must and must not contain, and a real WARC that is damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import trafilatura

from dataprep.corpus.recipe import Extraction
from dataprep.extract.encoding import decoded
from dataprep.extract.page import UnreadablePage, read_page
from dataprep.extract.page_text import extracted
from dataprep.warc.http_response import parse
from dataprep.warc.reader import Gap, WarcRecord, read_warc

pytestmark = pytest.mark.slow(10)


@pytest.fixture(scope="module")
def places(data: Path) -> dict[str, WarcRecord]:
    """The record of every page."""
    pages = read_warc(data / "web" / "pages.warc.gz")
    return {page.url: page for page in pages if isinstance(page, WarcRecord)}


def test_our_text_is_at_least_as_right_as_trafilatura_s_by_its_own_settings(
    data: Path, places: dict[str, WarcRecord]
) -> None:
    """F1 over the strings that a page's text must hold and those that it must not, both in this run."""
    truth = json.loads((data / "web" / "extraction_truth.json").read_text())
    ours, theirs = [0, 0, 0], [0, 0, 0]
    settings = Extraction()
    for url in truth.keys() & places.keys():
        at = places[url]
        page = read_page(data / "web" / "pages.warc.gz", at.offset, at.length, settings.max_bytes)
        try:
            text = extracted(page, url, settings)["text"] or ""
        except UnreadablePage:
            text = ""
        for tally, found in ((ours, text), (theirs, trafilatura.extract(page.body, url=url) or "")):
            tally[0] += sum(wanted in found for wanted in truth[url].get("with", ()))
            tally[1] += sum(unwanted in found for unwanted in truth[url].get("without", ()))
            tally[2] += len(truth[url].get("with", ()))
    print(f"F1: ours {f1(*ours):.4f}, trafilatura's {f1(*theirs):.4f}")
    assert f1(*ours) >= f1(*theirs) > 0.8


def test_a_document_is_what_bare_trafilatura_takes(data: Path, places: dict[str, WarcRecord]) -> None:
    """Text, title, author and date, in another process, where nothing of ours has touched it."""
    pages, ours = [], []
    for url, at in list(places.items())[::60]:
        page = read_page(data / "web" / "pages.warc.gz", at.offset, at.length, 8 << 20)
        pages.append([page.body.decode(), url, page.day])
        ours.append(extracted(page, url, Extraction()))
    code = """
import json, sys, trafilatura
documents = []
for html, url, day in json.load(sys.stdin):
    dates = {"max_date": day, "extensive_search": False, "original_date": True}
    found = trafilatura.bare_extraction(
        html, url=url, include_comments=False, with_metadata=True, date_extraction_params=dates
    )
    document = {name: getattr(found, name) for name in ("title", "author", "date", "text")}
    documents.append(document | {"text": found.text.strip()})
json.dump(documents, sys.stdout)
"""
    command = [sys.executable, "-c", code]
    bare = subprocess.run(command, input=json.dumps(pages), capture_output=True, text=True, check=True)
    assert ours == json.loads(bare.stdout)


def test_pages_with_old_declarations_and_broken_bytes_are_read(
    data: Path, places: dict[str, WarcRecord]
) -> None:
    """Of 2,905 pages 32 say that they are Latin-1, and two are not all valid in what they are written in."""
    broken = {}
    for url, at in places.items():
        response = parse(at.block)
        body = response.page(8 << 20)
        if added := decoded(body, response.content_type).count("\ufffd") - body.count("\ufffd".encode()):
            broken[url] = added
    assert sum(broken.values()) <= 1
    for url in broken:
        assert "ł" in decoded(parse(places[url].block).body)


def f1(right: int, wrong: int, wanted: int) -> float:
    return 2 * right / (right + wrong + wanted)


def test_64_flipped_bytes_of_a_real_file_cost_the_records_that_they_touch(
    data: Path, places: dict[str, WarcRecord], tmp_path: Path
) -> None:
    whole = (data / "web" / "pages.warc.gz").read_bytes()
    random = Random(7)
    for _ in range(4):
        at = random.randrange(len(whole) - 64)
        flipped = bytes(byte ^ 0xFF for byte in whole[at : at + 64])
        damaged = tmp_path / "damaged.warc.gz"
        damaged.write_bytes(whole[:at] + flipped + whole[at + 64 :])
        pieces = list(read_warc(damaged))
        found = {piece.url: piece for piece in pieces if isinstance(piece, WarcRecord)}
        touched = {
            url for url, page in places.items() if page.offset < at + 64 and at < page.offset + page.length
        }
        assert places.keys() - found.keys() == touched
        assert all(found[url] == places[url] for url in found)
        (gap,) = [piece for piece in pieces if isinstance(piece, Gap)]
        assert gap.reason == "damaged_record"
        assert gap.offset <= at < gap.offset + gap.length
