"""The page of a fine-tuning: `report.html`, self-contained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataprep.store import files
from pipeline.finetune.metrics import confusion
from pipeline.finetune.predictions import as_numbers, path_of, read_predictions
from pipeline.finetune.results import Measured, Results, read_results
from pipeline.monitor.charts import FAINT, INK, LINE, Panel, canvas, inline_svg, panel_picture
from pipeline.monitor.report import page_template
from pipeline.monitor.run_files import joined_metrics
from pipeline.monitor.run_page import thinned

TEMPLATES = Path(__file__).parent / "templates"
REPORT = "report.html"
CURVES = {
    "loss": ("Loss of the task", "Of each update, before it.", "nats"),
    "lm_loss": ("Loss of the language model", "Beside the task, on the same texts.", "nats a token"),
    "val_loss": ("Loss on the dev set", "Of the task, at each evaluation.", "nats"),
}
"""(title, what it shows, unit) of the metrics that are drawn, with each `dev/` score."""


def write_report(folder: Path) -> Path:
    """Draw the results in a directory to its `report.html`. Raises RunError when there are none."""
    path = folder / REPORT
    files.replace(path, render(folder, read_results(folder)).encode())
    return path


def render(folder: Path, results: Results) -> str:
    """The page of results whose seeds lie in a directory; the same files give the same text."""
    from markupsafe import Markup

    shown = results.scores[0] if results.scores else None
    return page_template("finetuning.html.j2", TEMPLATES).render(
        name=folder.resolve().name,
        results=results,
        shown=shown,
        figures=list(_figures(results)),
        summaries=list(_summaries(results.scores)),
        curves=[(panel, Markup(panel_picture(panel))) for panel in _curves(folder, results)],
        percent=percent,
        **(_predicted(folder, results, shown) if shown else {"confusion": None, "scatter": ""}),
    )


def _predicted(folder: Path, results: Results, shown: Measured) -> dict[str, Any]:
    """What the seed in the middle has predicted: a table of classes, or a picture of grades."""
    from markupsafe import Markup

    path = path_of(folder / f"seed-{shown.middle_seed}", shown.part)
    gold, predicted = (as_numbers(side, results.labels) for side in read_predictions(path))
    if results.labels:
        return {"confusion": confusion(gold, predicted, len(results.labels)).tolist(), "scatter": ""}
    return {"confusion": None, "scatter": Markup(_scatter_picture(gold, predicted))}


def percent(value: float | None) -> str:
    """A score as the paper prints it.

    >>> percent(0.4537), percent(None)
    ('45.4', '')
    """
    return "" if value is None else f"{100 * value:.1f}"


def _figures(results: Results) -> Iterator[tuple[str, str]]:
    for first in results.scores[:1]:
        yield percent(first.mean), f"mean {first.measure}, {first.part}"
        if first.majority is not None:
            yield percent(first.majority), "the most frequent class alone"
        for row in results.paper:
            if (row.variant, row.measure) == (results.variant, first.measure):
                yield f"{row.value:.1f}", "GPT-1's paper"
    yield f"{len(results.seeds)}", "seeds"


def _summaries(scores: Sequence[Measured]) -> Iterator[tuple[str, list[float | None]]]:
    """Name of each row below the seeds, and its value of each score."""
    for name in ("mean", "median", "deviation", "majority"):
        values: list[float | None] = [getattr(score, name) for score in scores]
        if any(value is not None for value in values):
            yield (
                {"deviation": "standard deviation", "majority": "most frequent class"}.get(name, name),
                values,
            )


def _curves(folder: Path, results: Results) -> Iterator[Panel]:
    """A panel a metric, a series a seed; none of a seed whose attempts were removed to save room."""
    series: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for seed in results.seeds:
        run = folder / f"seed-{seed}"
        for row in joined_metrics(run) if (run / "attempts").is_dir() else ():
            for name in row:
                if name in CURVES or name.startswith("dev/"):
                    series.setdefault(name, {}).setdefault(f"seed {seed}", []).append(
                        (row["tokens"], row[name])
                    )
    for name in sorted(series, key=[*CURVES, *series].index):
        score = name.removeprefix("dev/")
        title, lead, unit = CURVES.get(
            name, (f"{score.capitalize()} on the dev set", "At each evaluation.", score)
        )
        yield Panel(
            name=name.replace("/", "-").replace("_", "-"),
            title=title,
            lead=lead,
            unit=unit,
            series={seed: thinned(points, 300) for seed, points in series[name].items()},
            dots=name not in ("loss", "lm_loss"),
        )


def _scatter_picture(gold: Any, predicted: Any) -> str:
    """Predicted grades over the given ones."""
    figure, axes = canvas(4.0)
    ends = [min(gold.min(), predicted.min()), max(gold.max(), predicted.max())]
    axes.plot(ends, ends, color=FAINT, linewidth=1)
    axes.scatter(gold, predicted, s=9, color=LINE, alpha=0.45, linewidths=0)
    axes.set_xlabel("given", color=INK)
    axes.set_ylabel("predicted", color=INK)
    return inline_svg("scatter", figure, f"Predicted grades of {len(gold):,} examples over the given ones")
