"""A run in pictures, from its own files and without any account: what `outbound monitor` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.errors import UsageError
from pipeline.monitor.charts import Curve, Panel, funnel_picture, loss_picture, panel_picture, smoothed
from pipeline.monitor.evaluations import of_run
from pipeline.monitor.model_card import read_funnels
from pipeline.monitor.report import curve_of, page_template
from pipeline.monitor.run_files import display_name, joined_metrics, joined_samples, read_summary

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
LOSS = "loss"
"""Name of the loss among the pictures."""
SHARED = ("lr", "grad_norm", "batch", "tokens_per_s", "mfu", "data_wait", "bubble")
"""Metrics that a run has one of."""
SERIES = {"bubble": "mean", "mfu": "6N + 12LDT", "mfu_causal": "causal"}
"""Names of metrics in a panel of several, where they differ from the metric's own."""
COMPARED = (
    (
        LOSS,
        "Loss",
        "Training loss in nats a token, smoothed. Of runs with different tokenizers or data it is not "
        "comparable.",
        "loss (nats per token)",
        LOSS,
    ),
    (
        "val-loss",
        "Held-out loss",
        "In nats a token, each run on its own held-out set.",
        "loss (nats per token)",
        "val_loss",
    ),
    *(
        (name, title, lead, unit, wanted[0])
        for name, title, lead, unit, wanted in PANELS
        if wanted[0] in SHARED
    ),
)
"""(name, title, what it shows, unit, metric) of a picture with a line for each run."""
POINTS = 1500
"""At most so many of each series are drawn."""


def pictures(run: Path, wall_clock: bool = False) -> dict[str, Curve | Panel]:
    """The pictures of a run by name, the loss first; against tokens, or against hours since its first step.

    Raises RunError when it has no metrics.
    """
    rows, across = joined_metrics(run), "tokens"
    if wall_clock:
        rows, across = against_hours(rows), "hours"
    curve = replace(curve_of(rows, read_summary(run)), across=across)
    place = {row["step"]: row["tokens"] for row in rows}
    scores = evaluation_panels(run, place if wall_clock else None)
    drawn = [replace(panel, across=across) for panel in (*panels(rows), *scores)]
    return {LOSS: _thin_curve(curve), **{panel.name: panel for panel in drawn}}


def against_hours(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with hours since the first one in the place of tokens; pauses between attempts count.

    >>> against_hours([{"time": 7200.0, "tokens": 64}, {"time": 9000.0, "tokens": 128}])
    [{'time': 7200.0, 'tokens': 0.0}, {'time': 9000.0, 'tokens': 0.5}]
    """
    return [row | {"tokens": (row["time"] - rows[0]["time"]) / 3600} for row in rows]


def render(run: Path, shown: Mapping[str, Curve | Panel]) -> str:
    """A run with its pictures as one self-contained HTML page. Raises RunError when a file is damaged."""
    from markupsafe import Markup

    curve, *drawn = shown.values()
    assert isinstance(curve, Curve)
    return page_template("monitor.html.j2").render(
        name=run.resolve().name,
        figures=figures(joined_metrics(run)),
        new_sets=curve.new_sets,
        loss=Markup(loss_picture(curve)),
        panels=[(panel, Markup(panel_picture(panel))) for panel in drawn if isinstance(panel, Panel)],
        samples=last_samples(run),
        funnels=[(source, Markup(funnel_picture(counts))) for source, counts in read_funnels(run)],
    )


def compare(runs: Sequence[Path], wall_clock: bool = False) -> dict[str, Curve | Panel]:
    """Pictures with a line for each of several runs: smoothed training loss, held-out loss, and metrics.

    Raises RunError when one has no metrics, UsageError when two are the same.
    """
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError(f"{' '.join(map(str, runs))}: names a run twice; give different ones")
    names = [display_name(run.resolve()) for run in runs]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    metrics = {name: joined_metrics(run) for name, run in zip(names, runs, strict=True)}
    if wall_clock:
        metrics = {name: against_hours(rows) for name, rows in metrics.items()}
    found: list[Panel] = []
    for name, title, lead, unit, key in COMPARED:
        series = {run: _series(rows, key) for run, rows in metrics.items()}
        if any(series.values()):
            found.append(
                Panel(
                    name=name,
                    title=title,
                    lead=lead,
                    unit=unit,
                    series={run: thinned(points) for run, points in series.items()},
                    dots=key == "val_loss",
                    across="hours" if wall_clock else "tokens",
                )
            )
    return {panel.name: panel for panel in found}


def compare_page(runs: Sequence[Path], shown: Mapping[str, Curve | Panel]) -> str:
    """The pictures of a comparison as one self-contained HTML page."""
    from markupsafe import Markup

    return page_template("compare.html.j2").render(
        names=[display_name(run.resolve()) for run in runs],
        figures=[(f"{len(runs)}", "runs")],
        panels=[
            (panel, Markup(panel_picture(panel))) for panel in shown.values() if isinstance(panel, Panel)
        ],
    )


def _series(rows: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    points = [(row["tokens"], row[key]) for row in rows if key in row]
    if key != LOSS:
        return points
    return list(zip((place for place, _ in points), smoothed([loss for _, loss in points]), strict=True))


def panels(rows: Sequence[dict[str, Any]]) -> Iterator[Panel]:
    """Panels of the metrics, by kind; kinds without any value are left out."""
    for name, title, lead, unit, wanted in PANELS:
        series: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            for key, value in row.items():
                if key.partition("/")[0] in wanted:
                    series.setdefault(_label(key), []).append((row["tokens"], value))
        if name != "guards" or any(value for points in series.values() for _, value in points):
            drawn = {label: thinned(series[label]) for label in sorted(series, key=_in_order)}
            if drawn:
                yield Panel(name=name, title=title, lead=lead, unit=unit, series=drawn)


def evaluation_panels(run: Path, places: Mapping[int, float] | None = None) -> Iterator[Panel]:
    """Panels of the checkpoints' scores, one for each task and main measure, without intervals.

    places: place of each step, by default its tokens. Of several evaluations of a checkpoint, the one with
    most documents is shown.
    """
    series: dict[tuple[str, str], dict[str, dict[float, float]]] = {}
    for each in of_run(run):
        for score in each.results.scores:
            about = each.results.model
            place = about.tokens if places is None else places.get(about.step or 0)
            if score.main and score.value is not None and place is not None:
                of_task = series.setdefault((score.task, score.measure), {})
                of_task.setdefault(f"K = {score.shots}, {score.protocol}", {})[place] = score.value
    for (task, measure), of_task in sorted(series.items()):
        yield Panel(
            name=f"eval-{task}-{measure}",
            title=task,
            lead="What `outbound eval` measured, with K solved examples before each question.",
            unit=measure,
            series={label: [*points.items()] for label, points in sorted(of_task.items())},
            dots=True,
        )


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` points: each the mean of some neighbours, at the last one's place.

    >>> thinned([(1, 1.0), (2, 3.0), (3, 5.0)], most=2)
    [(2, 2.0), (3, 5.0)]
    """
    size = -(-len(points) // most)
    groups = [points[first : first + size] for first in range(0, len(points), size or 1)]
    return [(group[-1][0], fmean(value for _, value in group)) for group in groups]


def figures(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The few numbers at the head of the page, as (number, what it counts).

    Loss, speed and MFU are of full steps: one that was skipped has no loss, and the last step of a run, of
    the samples that are left, is slower for its size.
    """
    steps = [row for row in rows if "batch" in row]
    if not steps:
        return []
    last, full = steps[-1], full_steps(steps)
    found = [(f"{last['step']:,}", "steps"), (f"{last['tokens']:,}", "tokens")]
    held_out = [row["val_loss"] for row in rows if "val_loss" in row]
    if full:
        found.append((f"{full[-1]['loss']:.3f}", f"training loss of step {full[-1]['step']:,}"))
    found += [(f"{held_out[-1]:.3f}", "held-out loss")] if held_out else []
    if full:
        found.append((f"{fmean(row['tokens_per_s'] for row in full[-100:]):,.0f}", "tokens a second"))
        found += [(f"{full[-1]['mfu']:.0%}", "MFU")] if "mfu" in full[-1] else []
    return found


def full_steps(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps with a loss that are no smaller than the one before: a batch ramp only grows.

    >>> [step["step"] for step in full_steps([
    ...     {"step": 1, "batch": 4, "loss": 5.0}, {"step": 2, "batch": 8, "loss": 4.0},
    ...     {"step": 3, "batch": 8}, {"step": 4, "batch": 3, "loss": 4.5},
    ... ])]
    [1, 2]
    """
    before = [0, *(step["batch"] for step in steps)]
    return [
        step for step, least in zip(steps, before, strict=False) if "loss" in step and step["batch"] >= least
    ]


def last_samples(run: Path) -> list[dict[str, Any]]:
    """What the newest sampled checkpoint has written: {"step", "prompt", "text"} a prompt."""
    rows = joined_samples(run)
    return [row for row in rows if row["step"] == rows[-1]["step"]]


def _in_order(label: str) -> tuple[str, int]:
    """
    >>> sorted(["stage 10", "stage 2", "mean"], key=_in_order)
    ['mean', 'stage 2', 'stage 10']
    """
    kind, _, number = label.partition(" ")
    return (kind, int(number)) if number.isdecimal() else (label, 0)


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
