"""The pages of evaluations show every score, stand alone, and escape what comes from outside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from pipeline.eval import pictures
from pipeline.eval.overlapped import Overlap
from pipeline.eval.page import render, write_family, write_report
from pipeline.eval.pictures import Curve, Dot, Panel, Point
from pipeline.eval.scores import Outcome
from pipeline.eval.table import table
from pipeline.monitor import charts
from support.evaluations import documents, lambada, model, outcome, task, write

pytestmark = pytest.mark.slow(5)

DIRTY = Overlap(frozenset(("hellaswag_val.jsonl", line) for line in range(1, 40, 6)), frozenset())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    write(
        folder, [outcome(boundary_merges=3), outcome(shots=1), lambada()], DIRTY, run="<i>books</i>", loss=3.9
    )
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_report(folder).read_text()


def test_every_score_stands_with_its_interval_and_its_paper(page: str) -> None:
    assert "60.44" not in page, "an interval of another number of documents"
    assert "59.81 to 85.81" in page, "Wilson's for 30 of 40"
    assert "33.70* (GPT-3 125M)" in page
    assert "45.99 (GPT-2 117M)" in page
    assert "*: this published value is from memory or from another&#39;s copy." in page
    assert 'hellaswag/0/paper</th><td class="number">3</td>' in page


def test_the_pictures_are_there_well_formed_and_in_the_page_s_colours(page: str) -> None:
    sections = re.findall(r'<section aria-labelledby="h-(\w+)">', page)
    assert sections == ["table", "scores", "sizes", "clean", "shots", "parts", "caveats", "samples", "made"]
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(pictures) == 4
    for svg in pictures:
        root = ElementTree.fromstring(svg)
        assert root[0].get("id") == root.get("aria-labelledby")
        assert "var(--ink)" in svg
        assert not re.search(r"#0[1-6]0[1-6]0[1-6]", svg)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "(82% clean)" in page, "33 of 40"


def test_nothing_is_loaded_from_anywhere_and_strangers_texts_are_escaped(page: str) -> None:
    assert not re.search(r"<(?:script|link|img|iframe|object)\b", page)
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|url\((?!#)""", page)
    assert "<title>Evaluation of &lt;i&gt;books&lt;/i&gt;, step 300</title>" in page
    assert "Question &lt;1&gt;" in page


def test_without_an_overlap_a_shot_or_a_paper_those_parts_are_left_out(tmp_path: Path) -> None:
    bits = documents(9, {"bits_per_byte": lambda n: [n, 8.0]}, file="text8")
    page = render(
        write(tmp_path, [Outcome(task=task("text8"), protocol="paper", shots=3, documents=bits, examples=9)])
    )
    assert re.findall(r'<section aria-labelledby="h-(\w+)">', page) == ["table", "caveats", "made"]


def test_texts_without_a_score_are_shown(tmp_path: Path) -> None:
    news = documents(14, {}, file="shown_news")
    outcomes = [Outcome(task=task("shown_news"), protocol="paper", shots=0, documents=news, examples=14)]
    console = Console(width=160, record=True)
    console.print(table(write(tmp_path, outcomes)))
    assert "without a score, see the report: shown_news" in " ".join(console.export_text().split())
    page = write_report(tmp_path).read_text()
    assert "<summary>shown_news</summary>" in page
    assert page.count("<blockquote>") == 12


def test_a_set_whose_every_example_is_dirty_has_no_difference_to_draw(tmp_path: Path) -> None:
    dirty = Overlap(frozenset(("hellaswag_val.jsonl", line) for line in range(1, 41)), frozenset())
    write(tmp_path, [outcome()], dirty)
    page = write_report(tmp_path).read_text()
    assert 'id="h-clean"' not in page
    assert '<td class="number">- (0)</td>' in page


def test_a_family_is_drawn_against_compute_smallest_first(tmp_path: Path) -> None:
    sizes = {"large": 300_000_000, "small": 85_000_000}
    for name, size in sizes.items():
        write(tmp_path / name, [outcome()], run=name, non_embedding=size, loss=size**-0.1)
    write(tmp_path / "released", [outcome()], run="released", step=None)
    write_family([tmp_path / name for name in (*sizes, "released")], tmp_path / "family.html")
    page = (tmp_path / "family.html").read_text()
    assert model().compute == 6 * 85e6 * 300_000
    assert page.index("small, step 300") < page.index("large, step 300")
    assert page.index(">released<") < page.index("small, step 300"), "its compute is unknown"
    assert "held-out loss (nats a token): loss ends at 0.142" in page
    assert page.count("75.00") == 3
    assert "1.53e+14" in page


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The axes of each picture that is drawn from here on."""
    pictures_drawn: list[list[Any]] = []
    write = charts.inline_svg

    def noted(name: str, figure: Any, title: str) -> str:
        pictures_drawn.append(figure.axes)
        return write(name, figure, title)

    monkeypatch.setattr(pictures, "inline_svg", noted)
    return pictures_drawn


def points(line: Any) -> list[tuple[float, float]]:
    """Of a drawn line."""
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_a_panel_draws_values_and_their_intervals(drawn: list[list[Any]]) -> None:
    own = Curve("ours", [Point(10, 0.5, 0.4, 0.7), Point(100, 0.6)])
    papers = Curve("GPT-2", [Point(30, 0.3, 0.1, 0.9)], own=False)
    panels = [Panel("hellaswag", [own, papers]), Panel("lambada", [own])]
    summary = pictures.panels_picture("p", "Scores", panels, "parameters")
    first, second, third = drawn[0]
    values, interval, published = map(points, first.lines)
    assert (values, published) == ([(10, 0.5), (100, 0.6)], [(30, 0.3)])
    assert interval == [(10, 0.4), (10, 0.7)]
    assert first.get_xlim() == pytest.approx((10 / 3, 300))
    assert (first.get_xscale(), len(second.lines), third.get_visible()) == ("log", 2, False)
    assert "hellaswag: ours ends at 0.6" in summary


def test_dots_stand_at_their_values_from_top_to_bottom(drawn: list[list[Any]]) -> None:
    dots = [
        Dot("first", Point(0, 12.0, 10.0, 13.0), [("GPT-2", 11.0)]),
        Dot("second", Point(0, -3.0), [("GPT-3", 4.0), ("GPT-2", 5.0)]),
    ]
    pictures.dots_picture("d", "Scores", dots, "points", zero=True)
    own, interval, gpt2, gpt3, zero = drawn[0][0].lines
    assert points(own) == [(12.0, 2), (-3.0, 1)]
    assert points(interval) == [(10.0, 2), (13.0, 2)]
    assert (gpt2.get_label(), points(gpt2)) == ("GPT-2", [(11.0, 2), (5.0, 1)])
    assert (gpt3.get_label(), points(gpt3)) == ("GPT-3", [(4.0, 1)])
    assert set(zero.get_xdata()) == {0}
    assert [label.get_text() for label in drawn[0][0].get_yticklabels()] == ["first", "second"]
