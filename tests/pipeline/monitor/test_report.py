"""The report shows every number and reason, stands alone, and is the same for the same data."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dataprep.audit.funnel import StageCount
from dataprep.audit.statistics import Growth
from pipeline.checkpoint import attempts
from pipeline.errors import RunError
from pipeline.monitor import charts
from pipeline.monitor.charts import Curve, Panel
from pipeline.monitor.report import GeneratedText, ReportData, read_curve, render

FUNNEL = (
    StageCount("links", "submissions", 71040, 1080, {"self_post": 60000, "below_karma": 9960}),
    StageCount("fetch", "URLs", 1080, 1061, {"not_found": 14, "moved": 5}),
    StageCount("dedup", "documents", 1061, 1000, {"near_duplicate": 40, "exact_duplicate": 21}),
)
CURVE = Curve(
    train=[(1000 * n, 8.0 - n / 20) for n in range(1, 80)],
    val=[(40_000, 6.1), (79_000, 4.2)],
    unigram_entropy=6.53,
    resumes=(40_000,),
)
WHOLE = ReportData(
    title="From links to a GPT: <demo>",
    funnel=FUNNEL,
    sites=(("stdlib.test", 700), ("numpy.test", 300)),
    curve=CURVE,
    sample=GeneratedText("Returns the", " <b>sum</b> & more"),
    paths=(("Corpus", "demo/corpus"), ("Run", "demo/run")),
)


@pytest.fixture(scope="module")
def report() -> str:
    return render(WHOLE)


def pictures(report: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", report, flags=re.S)


def test_every_stage_reason_site_and_path_is_shown(report: str) -> None:
    for stage in FUNNEL:
        assert f">{stage.stage}<" in report
        assert f"{stage.passed:,} of {stage.entered:,} {stage.unit}" in pictures(report)[0]
        for reason, count in stage.reasons.items():
            assert reason.replace("_", " ") in pictures(report)[0]
            assert f"{reason} <span>{count:,}</span>" in report
    for text in ("stdlib.test", "numpy.test", "demo/corpus", "demo/run", "Returns the"):
        assert text in report


def test_the_loss_picture_has_both_losses_the_entropy_and_the_resume(report: str) -> None:
    loss = pictures(report)[2]
    for label in (
        ">training<",
        ">training, smoothed<",
        "validation",
        "unigram entropy",
        "stopped and resumed",
        "tokens",
        "nats per token",
    ):
        assert label in loss
    assert "validation loss ends at 4.20" in loss


def test_nothing_is_loaded_from_anywhere(report: str) -> None:
    assert not re.search(r"<(?:script|link|img|iframe|object)\b", report)
    for target in re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']*)", report):
        assert target.startswith("#"), target
    assert not re.search(r"@import|url\((?!#)", report)


def test_pictures_are_well_formed_named_and_follow_the_page_s_colours(report: str) -> None:
    assert len(pictures(report)) == 3
    ids = re.findall(r'\bid="([^"]+)"', report)
    assert len(ids) == len(set(ids))
    for svg in pictures(report):
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root[0].tag.endswith("title")
        assert root[0].get("id") == root.get("aria-labelledby")
        assert "var(--ink)" in svg
        assert not re.search(r"#0[1-6]0[1-6]0[1-6]", svg)
        for used in re.findall(r"(?:href=\"|url\()#([^\")]+)", svg):
            assert used in ids
    assert "prefers-color-scheme: dark" in report


def test_what_comes_from_outside_is_escaped(report: str) -> None:
    assert "<b>sum</b>" not in report
    assert "&lt;b&gt;sum&lt;/b&gt; &amp; more" in report
    assert "<title>From links to a GPT: &lt;demo&gt;</title>" in report


def test_a_corpus_without_a_run_has_a_report(report: str) -> None:
    alone = render(ReportData("Corpus", FUNNEL, WHOLE.sites))
    assert len(pictures(alone)) == 2
    assert "What the model" not in alone
    assert "near duplicate" in alone


def test_the_same_data_give_the_same_report(report: str) -> None:
    assert render(WHOLE) == report


def test_a_curve_is_read_from_a_run_s_directory(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "tokens": 100, "loss": 7.0},
        {"step": 2, "tokens": 200, "loss": 6.5},
        {"step": 2, "tokens": 200, "val_loss": 6.6},
    ]
    attempt = attempts.claim(tmp_path, processes=1)
    attempt.begin(attempts.Origin(attempt=0, step=0))
    (attempt.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_curve(tmp_path) == Curve([(100, 7.0), (200, 6.5)], [(200, 6.6)], resumes=[])
    (attempt.folder / "summary.json").write_text(json.dumps({"unigram_entropy_nats": 6.9, "resumes": [1]}))
    assert read_curve(tmp_path) == Curve([(100, 7.0), (200, 6.5)], [(200, 6.6)], 6.9, [100])


@pytest.mark.slow(1)
def test_losses_before_and_after_a_forget_are_losses_on_different_sets(tmp_path: Path) -> None:
    """A row of an earlier version, without the set, is of another set than one with it."""
    sets = [None, "a", "a", "b"]
    rows = [{"step": n, "tokens": 100 * n, "val_loss": 6.0 - n / 10} for n in range(1, 5)]
    rows = [row | ({"val_set": name} if name else {}) for row, name in zip(rows, sets, strict=True)]
    attempt = attempts.claim(tmp_path, processes=1)
    attempt.begin(attempts.Origin(attempt=0, step=0))
    (attempt.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve = read_curve(tmp_path)
    assert curve.new_sets == (200, 400)
    changed = render(replace(WHOLE, curve=replace(curve, train=CURVE.train)))
    assert "another held-out set from 400 tokens on" in changed
    assert "losses on different sets" in changed
    assert "another held-out set" not in render(WHOLE)
    assert "different sets" not in render(WHOLE)


def test_a_directory_that_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"attempts: is not there"):
        read_curve(tmp_path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of each picture that is drawn from here on."""
    axes: list[Any] = []
    write = charts.inline_svg

    def noted(name: str, figure: Any, title: str) -> str:
        axes.append(figure.axes[0])
        return write(name, figure, title)

    monkeypatch.setattr(charts, "inline_svg", noted)
    return axes


def points(line: Any) -> list[tuple[float, float]]:
    """Of a drawn line, from left to right."""
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_bars_are_as_long_as_what_they_count(drawn: list[Any]) -> None:
    charts.funnel_picture(FUNNEL)
    charts.sites_picture(WHOLE.sites)
    charts.counts_picture("outcomes", "Outcomes", {"timeout": 3, "ok": 7}, good="ok")
    lengths = [[bar.get_width() for bar in axes.patches] for axes in drawn]
    assert lengths == [[1080, 60000, 9960, 1061, 14, 5, 1000, 40, 21], [700, 300], [7, 3]]
    notes = [[text.get_text() for text in axes.texts] for axes in drawn]
    assert notes[1] == ["700", "300"]
    labels = [label.get_text() for label in drawn[2].get_yticklabels()]
    assert labels == ["ok", "timeout"]
    assert all(list(axes.get_yticks()) == [*range(len(axes.patches), 0, -1)] for axes in drawn)


def test_a_histogram_has_a_column_for_each_doubling(drawn: list[Any]) -> None:
    charts.histogram_picture("words", "Words", "words", [(0, 3), (4, 5), (16, 1)])
    (axes,) = drawn
    assert [column.get_height() for column in axes.patches] == [3, 0, 0, 5, 0, 1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "4", "8", "16"]


def test_growth_is_kept_duplicates_and_other_losses_on_top_of_each_other(drawn: list[Any]) -> None:
    rows = [
        Growth("a", 10, 6, 99, {"exact_duplicate": 1, "near_duplicate": 2, "min_words": 1}),
        Growth("b", 20, 11, 99, {"exact_duplicate": 4, "min_words": 5}),
    ]
    charts.growth_picture(rows)
    charts.duplicates_picture(rows)
    growth, duplicates = drawn
    columns = [(column.get_y(), column.get_height()) for column in growth.patches]
    assert columns == [(0, 6), (0, 11), (6, 3), (11, 4), (9, 1), (15, 5)]
    assert points(growth.lines[0]) == [(0, 6), (1, 17)]
    assert [bar.get_width() for bar in duplicates.patches] == [1, 2, 4]
    assert [text.get_text() for text in duplicates.texts] == ["1 (10.0%)", "2 (20.0%)", "4 (20.0%)"]


def test_the_loss_picture_draws_every_loss_and_their_running_mean(drawn: list[Any]) -> None:
    curve = Curve(
        train=[(10, 8.0), (20, 4.0), (30, 6.0)],
        val=[(10, 7.0), (20, 6.0), (30, 6.5)],
        unigram_entropy=6.53,
        resumes=(20,),
        new_sets=(30,),
    )
    charts.loss_picture(curve)
    every, mean, first_set, second_set, new_set, entropy, resume = drawn[0].lines
    assert points(every) == curve.train
    # Of weight 3/4 for what came before: 8; (8 * 3/4 + 4) / (3/4 + 1); ...
    assert points(mean) == [(10, 8.0), (20, pytest.approx(10 / 1.75)), (30, pytest.approx(13.5 / 2.3125))]
    assert [points(line) for line in (first_set, second_set)] == [curve.val[:2], curve.val[2:]]
    assert (set(new_set.get_xdata()), set(resume.get_xdata())) == ({30}, {20})
    assert set(entropy.get_ydata()) == {6.53}


def test_a_panel_draws_every_series(drawn: list[Any]) -> None:
    series = {"a": [(10, 1.0), (20, 2.0)], "b": [(10, 0.5)]}
    charts.panel_picture(Panel(name="p", title="Speed", lead="Speed.", unit="tokens/s", series=series))
    assert {line.get_label(): points(line) for line in drawn[0].lines} == series
    assert (drawn[0].get_xlabel(), drawn[0].get_ylabel()) == ("tokens", "tokens/s")
