"""The page of a run shows what its checkpoints score."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.errors import UsageError
from pipeline.monitor.charts import Curve, Panel, panel_picture
from pipeline.monitor.run_page import compare, evaluation_panels, figures, pictures, render
from support.evaluations import lambada, outcome, write
from support.written_runs import WrittenRun


def test_evaluations_of_checkpoints_are_drawn_over_tokens(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    for step in (300, 20):
        write(run.dir / "evaluations" / f"step-{step:08}" / "all", [outcome(), outcome(shots=1)], step=step)
    write(run.dir / "evaluations" / "step-00000300" / "gpt2", [lambada()], step=300)
    trial = outcome(values={"acc": lambda _: [0.0, 1.0]}, count=4)
    write(run.dir / "evaluations" / "step-00000300" / "trial", [trial], step=300, limit=4)
    hellaswag, cloze = evaluation_panels(run.dir)
    assert hellaswag.series == {
        "K = 0, paper": [(20_000, 0.75), (300_000, 0.75)],
        "K = 1, paper": [(20_000, 0.75), (300_000, 0.75)],
    }
    assert (cloze.title, cloze.unit) == ("lambada", "perplexity")
    page = render(run.dir, pictures(run.dir))
    assert ">hellaswag</h2>" in page
    assert "hellaswag: K = 0, paper ends at 0.75" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    timed = pictures(run.dir, wall_clock=True)
    assert not [name for name in timed if name.startswith("eval")], "no step of the run has a time for them"


def step(number: int, seconds: float, **more: Any) -> dict[str, Any]:
    """The row of a step of two stages in which 64 tokens were read."""
    row = {"step": number, "tokens": 64 * number, "loss": 8.0 - number, "batch": 4, "tokens_per_s": 100.0}
    stages = {f"bubble/{stage}": 0.1 * stage for stage in range(12)} | {
        "bubble": 0.3,
        "mfu": 0.5,
        "mfu_causal": 0.4,
    }
    return row | stages | {"time": 1000.0 + seconds, "attempt": 1} | more


def written(directory: Path, *rows: dict[str, Any]) -> Path:
    """A run with these rows."""
    run = WrittenRun(directory)
    (run.current.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run.dir


def monitor(*words: object) -> Result:
    return CliRunner().invoke(app, ["monitor", *map(str, words)], catch_exceptions=False)


def texts(path: Path) -> list[str]:
    """All text of an SVG file."""
    return [text.strip() for text in ElementTree.parse(path).getroot().itertext() if text.strip()]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return written(tmp_path / "first", *(step(number, 1800.0 * number) for number in range(1, 9)))


@pytest.mark.slow(4)
def test_pictures_are_files_with_titles_and_labels_and_each_can_stand_alone(run: Path) -> None:
    ended = monitor(run, "--panel", "loss", "--panel", "bubble")
    assert ended.exit_code == 0, ended.output
    there = {path.name for path in (run / "monitor").iterdir()}
    stems = ("monitor", "loss", "bubble")
    assert there == {"monitor.html", *(f"{stem}.{form}" for stem in stems for form in ("svg", "png"))}
    assert {"Loss", "training", "training, smoothed", "tokens"} <= set(texts(run / "monitor" / "loss.svg"))
    every = texts(run / "monitor" / "monitor.svg")
    assert {"Loss", "Batch", "Speed", "MFU", "Pipeline bubble"} <= set(every)
    assert {"6N + 12LDT", "causal"} <= set(every)
    assert not re.search("#0[1-6]0[1-6]0[1-6]", (run / "monitor" / "monitor.svg").read_text())
    for path in (run / "monitor").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    refused = CliRunner().invoke(app, ["monitor", str(run), "--panel", "losses"])
    assert isinstance(refused.exception, UsageError)
    assert "--panel losses: there is no such picture; choose from loss, batch" in str(refused.exception)


def test_a_stage_has_one_colour_in_all_panels(run: Path) -> None:
    """Stage 10 comes after stage 9, and the mean, which only some panels have, shifts no colour."""
    bubble = pictures(run)["bubble"]
    assert isinstance(bubble, Panel)
    assert list(bubble.series) == ["mean", *(f"stage {number}" for number in range(12))]
    alone = replace(bubble, series={"stage 3": bubble.series["stage 3"], "stage 7": bubble.series["stage 7"]})
    colours = [
        dict.fromkeys(re.findall(r"stroke: (#[0-9a-f]{6})", panel_picture(each))) for each in (bubble, alone)
    ]
    assert len(colours[0]) == 12, "each stage has its own"
    assert list(colours[1]) == [list(colours[0])[3], list(colours[0])[7]]


def test_the_headline_is_of_the_last_full_step(tmp_path: Path) -> None:
    rows = [step(1, 1), step(2, 2, mfu=0.6), step(3, 3, batch=1, loss=9.0, mfu=0.1, tokens_per_s=10.0)]
    skipped = {name: value for name, value in step(4, 4).items() if name != "loss"}
    expected = [("6.000", "training loss of step 2"), ("100", "tokens a second"), ("60%", "MFU")]
    assert figures(rows) == [("3", "steps"), ("192", "tokens"), *expected]
    assert figures([*rows, skipped]) == [("4", "steps"), ("256", "tokens"), *expected]
    assert figures([skipped]) == [("4", "steps"), ("256", "tokens")], "no step is full yet"


@pytest.mark.slow(2)
def test_the_wall_clock_is_drawn_on_request(run: Path) -> None:
    by_tokens, by_hours = pictures(run), pictures(run, wall_clock=True)
    assert isinstance(by_tokens["loss"], Curve)
    assert isinstance(by_hours["loss"], Curve)
    assert [place for place, _ in by_tokens["loss"].train] == [64 * number for number in range(1, 9)]
    assert [place for place, _ in by_hours["loss"].train] == [number / 2 for number in range(8)]
    assert monitor(run, "--wall-clock", "--panel", "speed").exit_code == 0
    assert "hours" in texts(run / "monitor" / "speed.svg")
    assert "tokens" not in texts(run / "monitor" / "speed.svg")


@pytest.mark.slow(3)
def test_runs_are_compared_with_a_line_for_each(run: Path, tmp_path: Path) -> None:
    second = written(
        tmp_path / "second", *(step(number, number, loss=5.0, val_loss=4.0) for number in range(1, 4))
    )
    ended = monitor(run, second, "-o", tmp_path / "out", "--panel", "loss")
    assert ended.exit_code == 0, ended.output
    loss = compare([run, second])["loss"]
    assert isinstance(loss, Panel)
    assert list(loss.series) == ["first", "second"]
    assert loss.series["second"] == [(64 * number, pytest.approx(5.0)) for number in range(1, 4)]
    assert {"Loss", "first", "second"} <= set(texts(tmp_path / "out" / "loss.svg"))
    held_out = compare([run, second])["val-loss"]
    assert isinstance(held_out, Panel)
    assert held_out.series["first"] == []
    assert "var(--lost)" in panel_picture(held_out), "the second run's colour, as in all panels"
    assert "var(--line)" not in panel_picture(held_out)
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "The runs first, second" in page
    assert all(
        f">{title}</h2>" in page for title in ("Loss", "Held-out loss", "Speed", "MFU", "Pipeline bubble")
    )
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|<script|url\((?!#)""", page)
    with pytest.raises(UsageError, match="names a run twice"):
        compare([run, tmp_path / "first" / ".." / "first"])
    with pytest.raises(UsageError, match="--follow: follows one run"):
        monitor(run, second, "--follow")
