"""The pages of evaluations: `report.html` of one, and a page of a family of models. Self-contained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataprep.store import files
from pipeline.eval.pictures import Curve, Dot, Panel, Point, dots_picture, panels_picture
from pipeline.eval.table import UNCHECKED, compared, has_unchecked, is_share, printed, titled
from pipeline.monitor.evaluations import Part, Results, Score, first_samples, folder_of, read_results
from pipeline.monitor.report import page_template

TEMPLATES = Path(__file__).parent / "templates"
REPORT = "report.html"
SHOWN_SAMPLES = 3
SHOWN_TEXTS = 12
"""Samples of a task that has no score: news, novel words."""
LONGEST = 1500
"""Characters of a sample's text that are shown: the last, since a prompt ends with the question."""


def write_report(folder: Path) -> Path:
    """Draw the results in a folder to its `report.html`. Raises RunError when there are none."""
    results = read_results(folder)
    path = folder / REPORT
    files.replace(path, render(results, _samples(folder, results)).encode())
    return path


def write_family(folders: Sequence[Path], path: Path) -> None:
    """Draw several evaluations to one page. Raises RunError when a directory has none, or several."""
    files.replace(path, render_family([read_results(folder_of(folder)) for folder in folders]).encode())


def render(results: Results, samples: Sequence[tuple[str, Sequence[dict[str, Any]]]] = ()) -> str:
    """One evaluation as an HTML document; the same results give the same text.

    samples: of each task, rows of its samples' file.
    """
    measured = [score for score in results.scores if score.value is not None]
    return _render(
        "evaluation.html.j2",
        results=results,
        name=titled(results.model),
        figures=_figures(results, measured),
        scores=measured,
        pictures=list(_pictures(results, [score for score in measured if score.main])),
        split=[score for score in measured if score.clean],
        unchecked=UNCHECKED if has_unchecked(measured) else "",
        samples=[(task, [_lines(row["sample"]) for row in rows]) for task, rows in samples],
    )


def render_family(family: Sequence[Results]) -> str:
    """Several models as an HTML document: held-out loss and scores against the compute of their training."""
    ordered = sorted(family, key=lambda each: (each.model.compute or 0, titled(each.model)))
    known = [results for results in ordered if results.model.compute]
    panels = []
    losses = [
        Point(each.model.compute or 0, each.model.loss) for each in known if each.model.loss is not None
    ]
    if losses:
        panels.append(Panel("held-out loss (nats a token)", [Curve("loss", losses)]))
    curves: dict[str, dict[str, list[Point]]] = {}
    for results in known:
        for score in results.scores:
            if score.main and score.value is not None:
                title = f"{score.task}, {score.measure}, {score.protocol}"
                points = curves.setdefault(title, {}).setdefault(f"K = {score.shots}", [])
                points.append(_point(score, results.model.compute or 0))
    panels += [
        Panel(title, [Curve(name, points) for name, points in of.items()])
        for title, of in sorted(curves.items())
    ]
    picture = panels_picture("family", "Against compute", panels, "operations (6ND)") if panels else ""
    return _render(
        "family.html.j2",
        figures=[(f"{len(family)}", "models")],
        family=ordered,
        values=_values(ordered),
        titled=titled,
        picture=_markup(picture),
    )


def _values(family: Sequence[Results]) -> list[tuple[str, str, list[str]]]:
    """Of each main score its key and measure, and the value of each model."""
    rows: dict[tuple[str, str], dict[int, float | None]] = {}
    for number, results in enumerate(family):
        for score in results.scores:
            if score.main and score.value is not None:
                rows.setdefault((score.key, score.measure), {})[number] = score.value
    return [
        (key, measure, [printed(measure, of.get(number)) for number in range(len(family))])
        for (key, measure), of in sorted(rows.items())
    ]


def _pictures(results: Results, scores: Sequence[Score]) -> Iterator[tuple[str, str, str, Any]]:
    """Name, headline, explanation and picture of each kind that there is something to show of."""
    shares = [score for score in scores if is_share(score.measure)]
    if shares:
        lead = "In percent, with 95 % intervals; circles are the published values of the nearest size."
        dots = [Dot(_label(score), _point(score), _others(score)) for score in shares]
        yield "scores", "Scores", lead, _markup(dots_picture("scores", "Scores", dots, "percent"))
    sized = list(_sizes(scores, results))
    if sized:
        lead = "Squares: published values, against parameters without embeddings. Circles: this model."
        picture = panels_picture("sizes", "Scores against size", sized, "parameters without embeddings")
        yield "sizes", "Against the papers", lead, _markup(picture)
    split = [score for score in shares if score.clean and score.clean.n and score.dirty and score.dirty.n]
    if split:
        lead = "Score of the clean examples less that of all (GPT-3, figure 4.2): below 0, the corpus helped."
        dots = [Dot(_clean_label(score), _part_point(score, score.clean_less_all)) for score in split]
        picture = dots_picture("clean", "Clean less all", dots, "points of percent", zero=True)
        yield "clean", "What the corpus holds of the sets", lead, _markup(picture)
    over = list(_over_shots(scores))
    if over:
        lead = "Scores against the number of solved examples before each question."
        picture = panels_picture(
            "shots", "Scores over solved examples", over, "solved examples (K)", log=False
        )
        yield "shots", "Learning from examples", lead, _markup(picture)


def _sizes(scores: Sequence[Score], results: Results) -> Iterator[Panel]:
    by_task: dict[str, list[Score]] = {}
    for score in scores:
        if score.paper:
            by_task.setdefault(f"{score.task}, {score.measure}, {score.protocol}", []).append(score)
    for title, shown in by_task.items():
        curves = []
        for score in sorted(shown, key=lambda each: each.shots):
            name = f"K = {score.shots}"
            for paper in dict.fromkeys(each.model for each in score.paper):
                points = [
                    Point(each.non_embedding, _scaled(score, each.value))
                    for each in score.paper
                    if each.model == paper
                ]
                curves.append(Curve(name, points, own=False))
            curves.append(Curve(name, [_point(score, results.model.non_embedding)]))
        yield Panel(title, curves)


def _over_shots(scores: Sequence[Score]) -> Iterator[Panel]:
    by_task: dict[tuple[str, str], dict[str, list[Point]]] = {}
    for score in sorted(scores, key=lambda each: each.shots):
        curves = by_task.setdefault((score.task, score.measure), {})
        curves.setdefault(score.protocol, []).append(_point(score, score.shots))
    for (task, measure), curves in sorted(by_task.items()):
        long = [Curve(protocol, points) for protocol, points in curves.items() if len(points) > 1]
        if long:
            yield Panel(f"{task}, {measure}", long)


def _others(score: Score) -> list[tuple[str, float]]:
    return [(each.name, _scaled(score, each.value)) for each in score.paper if each.nearest]


def _point(score: Score, at: float = 0.0) -> Point:
    return _part_point(score, Part(value=score.value, low=score.low, high=score.high), at)


def _part_point(score: Score, part: Part | None, at: float = 0.0) -> Point:
    assert part is not None
    assert part.value is not None
    low, high = (None if each is None else _scaled(score, each) for each in (part.low, part.high))
    return Point(at, _scaled(score, part.value), low, high)


def _scaled(score: Score, value: float) -> float:
    return 100 * value if is_share(score.measure) else value


def _label(score: Score) -> str:
    return f"{score.task}, K = {score.shots}, {score.protocol}"


def _clean_label(score: Score) -> str:
    assert score.clean is not None
    return f"{_label(score)} ({score.clean.n / score.n:.0%} clean)"


def _figures(results: Results, measured: Sequence[Score]) -> list[tuple[str, str]]:
    model = results.model
    found = [(f"{len({score.task for score in measured})}", "tasks"), (f"{model.parameters:,}", "parameters")]
    found += [(f"{model.tokens:,}", "tokens trained on")] if model.tokens is not None else []
    found += [(f"{model.loss:.3f}", "held-out loss, nats a token")] if model.loss is not None else []
    return [*found, (model.dtype, "precision")]


def _samples(folder: Path, results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    scored = {score.task for score in results.scores if score.value is not None}
    counts = {task: SHOWN_SAMPLES if task in scored else SHOWN_TEXTS for task in results.tasks}
    found = [(task, first_samples(folder, task, count)) for task, count in counts.items()]
    return [(task, rows) for task, rows in found if rows]


def _lines(sample: dict[str, Any]) -> list[tuple[str, str]]:
    """What a sample holds, in its order, long texts without their beginning."""
    texts = ((name, value if isinstance(value, str) else repr(value)) for name, value in sample.items())
    return [(name, f"[...] {text[-LONGEST:]}" if len(text) > LONGEST else text) for name, text in texts]


def _markup(picture: str) -> Any:
    from markupsafe import Markup

    return Markup(picture)


def _render(template: str, **shown: Any) -> str:
    return page_template(template, TEMPLATES).render(**shown, printed=printed, compared=compared)
