"""A run in pictures, from its own files and without any account: what `outbound monitor` writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.monitor.charts import Curve, Panel, funnel_picture, loss_picture, panel_picture, png
from pipeline.monitor.evaluations import of_run
from pipeline.monitor.model_card import read_funnels
from pipeline.monitor.report import page_template, read_curve
from pipeline.monitor.run_files import joined_metrics, joined_samples

PANELS = (
    ("lr", "Learning rate", "At each step.", "rate", ("lr",)),
    ("grad-norm", "Gradient norm", "Of the whole gradient, before clipping.", "norm", ("grad_norm",)),
    ("batch", "Batch", "Sequences of a step.", "sequences", ("batch",)),
    ("speed", "Speed", "Of all processes together.", "tokens/s", ("tokens_per_s",)),
    (
        "mfu",
        "MFU",
        "Share of the devices' peak, by 6N + 12LDT operations a token; causal: by those that training needs.",
        "share",
        ("mfu", "mfu_causal"),
    ),
    ("data-wait", "Data wait", "Share of a step without data.", "share", ("data_wait",)),
    (
        "bubble",
        "Pipeline bubble",
        "Share of the pipeline's time in which a stage idles.",
        "share",
        ("bubble",),
    ),
    (
        "straggler",
        "Stragglers",
        "A stage's computing over the mean of all ranks; what is above 1 is waited for.",
        "ratio",
        ("straggler",),
    ),
    ("memory", "Peak memory", "Of a stage's fullest rank.", "GB", ("memory_gb",)),
    ("share", "Sources", "Share of the samples so far.", "share", ("share",)),
    ("guards", "Guards", "Steps skipped, and spikes undone.", "count", ("skipped", "spikes")),
)
"""(name, title, what it shows, unit, metrics: each by its name or by what stands before its slash)."""
SERIES = {"bubble": "mean", "mfu": "6N + 12LDT", "mfu_causal": "causal"}
"""Names of metrics in a panel of several, where they differ from the metric's own."""
POINTS = 1500
"""At most so many of each series are drawn."""


def render(run: Path) -> tuple[str, bytes]:
    """A run as one self-contained HTML page, and as a PNG. Raises RunError when it has no metrics."""
    from markupsafe import Markup

    rows = joined_metrics(run)
    curve = _thin_curve(read_curve(run))
    shown = list(panels(rows))
    page = page_template("monitor.html.j2").render(
        name=run.resolve().name,
        figures=figures(rows),
        new_sets=curve.new_sets,
        loss=Markup(loss_picture(curve)),
        panels=[(panel, Markup(panel_picture(panel))) for panel in (*shown, *evaluation_panels(run))],
        samples=last_samples(run),
        funnels=[(source, Markup(funnel_picture(counts))) for source, counts in read_funnels(run)],
    )
    return page, png(curve, shown)


def panels(rows: Sequence[dict[str, Any]]) -> Iterator[Panel]:
    """Panels of the metrics, by kind; kinds without any value are left out."""
    for name, title, lead, unit, wanted in PANELS:
        series: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            for key, value in row.items():
                if key.partition("/")[0] in wanted:
                    series.setdefault(_label(key), []).append((row["tokens"], value))
        if name != "guards" or any(value for points in series.values() for _, value in points):
            drawn = {label: thinned(points) for label, points in sorted(series.items())}
            if drawn:
                yield Panel(name=name, title=title, lead=lead, unit=unit, series=drawn)


def evaluation_panels(run: Path) -> Iterator[Panel]:
    """Panels of the checkpoints' scores, one for each task and main measure, without intervals.

    Of several evaluations of a checkpoint, the one with most documents is shown.
    """
    series: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for each in of_run(run):
        for score in each.results.scores:
            tokens = each.results.model.tokens
            if score.main and score.value is not None and tokens is not None:
                of_task = series.setdefault((score.task, score.measure), {})
                of_task.setdefault(f"K = {score.shots}, {score.protocol}", {})[tokens] = score.value
    for (task, measure), of_task in sorted(series.items()):
        yield Panel(
            name=f"eval-{task}-{measure}",
            title=task,
            lead="What `outbound eval` measured, with K solved examples before each question.",
            unit=measure,
            series={label: [*points.items()] for label, points in sorted(of_task.items())},
            dots=True,
        )


def thinned(points: Sequence[tuple[int, float]], most: int = POINTS) -> list[tuple[int, float]]:
    """At most `most` points: each the mean of some neighbours, at the last one's place.

    >>> thinned([(1, 1.0), (2, 3.0), (3, 5.0)], most=2)
    [(2, 2.0), (3, 5.0)]
    """
    size = -(-len(points) // most)
    groups = [points[first : first + size] for first in range(0, len(points), size or 1)]
    return [(group[-1][0], fmean(value for _, value in group)) for group in groups]


def figures(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The few numbers at the head of the page, as (number, what it counts)."""
    steps = [row for row in rows if "batch" in row]
    if not steps:
        return []
    last = steps[-1]
    found = [(f"{last['step']:,}", "steps"), (f"{last['tokens']:,}", "tokens")]
    losses = [row["loss"] for row in steps if "loss" in row]
    held_out = [row["val_loss"] for row in rows if "val_loss" in row]
    found += [(f"{losses[-1]:.3f}", "training loss")] if losses else []
    found += [(f"{held_out[-1]:.3f}", "held-out loss")] if held_out else []
    found.append((f"{fmean(row['tokens_per_s'] for row in steps[-100:]):,.0f}", "tokens a second"))
    found += [(f"{last['mfu']:.0%}", "MFU")] if "mfu" in last else []
    return found


def last_samples(run: Path) -> list[dict[str, Any]]:
    """What the newest sampled checkpoint has written: {"step", "prompt", "text"} a prompt."""
    rows = joined_samples(run)
    return [row for row in rows if row["step"] == rows[-1]["step"]]


def _label(key: str) -> str:
    """
    >>> _label("bubble/0"), _label("share/books"), _label("bubble"), _label("spikes"), _label("mfu_causal")
    ('stage 0', 'books', 'mean', 'spikes', 'causal')
    """
    kind, _, of = key.partition("/")
    if key in SERIES:
        return SERIES[key]
    return f"stage {of}" if of.isdecimal() else of or kind


def _thin_curve(curve: Curve) -> Curve:
    return replace(curve, train=thinned(curve.train))
