"""CNN/DailyMail is read from its published stories and from JSON lines."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dataprep.errors import DataError
from pipeline.eval.sets.summaries import cnn_dailymail

STORY = """(CNN) -- A car hit a wall.

Nobody was hurt, police said

@highlight

A car hits a wall

@highlight

Nobody is hurt
"""
ROW = {"article": "(CNN) -- A car hit a wall.", "highlights": "A car hits a wall\nNobody is hurt"}


def test_the_urls_of_a_split_choose_the_stories(tmp_path: Path) -> None:
    url = "http://web.archive.org/web/2015/http://www.cnn.com/1.html"
    chosen = tmp_path / f"{hashlib.sha1(url.encode()).hexdigest()}.story"
    other, urls = tmp_path / "0123.story", tmp_path / "all_test.txt"
    for path in (chosen, other):
        path.write_text(STORY)
    urls.write_text(url + "\n")
    (only,) = cnn_dailymail([chosen, other, urls], tmp_path)
    assert only.key == chosen.stem
    assert only.row == {
        "article": "(CNN) -- A car hit a wall.\nNobody was hurt, police said",
        "highlights": ROW["highlights"],
    }
    assert len(list(cnn_dailymail([chosen, other], tmp_path))) == 2


def test_json_lines_have_article_and_highlights(tmp_path: Path) -> None:
    path = tmp_path / "cnn_dailymail_test.jsonl"
    path.write_text(json.dumps({**ROW, "id": "1"}) + '\n{"article": ""}\n')
    rows = cnn_dailymail([path], tmp_path)
    first = next(rows)
    assert (first.line, first.row) == (1, ROW)
    with pytest.raises(DataError, match="jsonl:2: has no field 'highlights'"):
        next(rows)


def test_a_story_without_a_highlight_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0123.story"
    path.write_text("Only an article.\n")
    with pytest.raises(DataError, match=r"0123\.story: is no story"):
        list(cnn_dailymail([path], tmp_path))
