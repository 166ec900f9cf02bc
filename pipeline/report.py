"""One page that tells the whole story of a corpus and of the run trained on it: `report.html`.

Self-contained: styles and pictures are inside, nothing is loaded from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataprep.funnel import StageCount
from pipeline.errors import RunError
from pipeline.figures import Curve, funnel_picture, loss_picture, sites_picture

TEMPLATES = Path(__file__).parent / "templates"
TOP_SITES = 15


@dataclass(frozen=True)
class Sample:
    """What a model wrote after a prompt."""

    prompt: str
    text: str


@dataclass(frozen=True)
class ReportData:
    """All that a report shows; a corpus that no model was trained on has no curve and no sample.

    sites: kept documents by site, most first. paths: what lies where.
    """

    title: str
    funnel: Sequence[StageCount]
    sites: Sequence[tuple[str, int]]
    curve: Curve | None = None
    sample: Sample | None = None
    paths: Sequence[tuple[str, str]] = ()


def render(data: ReportData) -> str:
    """The report as one HTML document; the same data give the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        data=data,
        figures=key_figures(data),
        funnel=Markup(funnel_picture(data.funnel)) if data.funnel else "",
        sites=Markup(sites_picture(data.sites)) if data.sites else "",
        loss=Markup(loss_picture(data.curve)) if data.curve else "",
    )


def key_figures(data: ReportData) -> list[tuple[str, str]]:
    """The few numbers at the head of the report, as (number, what it counts)."""
    figures = []
    if data.funnel:
        first, last = data.funnel[0], data.funnel[-1]
        figures += [(f"{first.entered:,}", f"{first.unit} read"), (f"{last.passed:,}", f"{last.unit} kept")]
    if data.curve and data.curve.train:
        figures.append((f"{data.curve.train[-1][0]:,}", "tokens trained on"))
    if data.curve and data.curve.val:
        figures.append((f"{data.curve.val[-1][1]:.3f}", "validation loss, nats a token"))
    if data.curve and data.curve.unigram_entropy is not None:
        figures.append((f"{data.curve.unigram_entropy:.3f}", "unigram entropy, nats a token"))
    return figures


def gather(
    corpus: Path, run: Path | None = None, sample: Sample | None = None, paths: Sequence[tuple[str, str]] = ()
) -> ReportData:
    """Read what a report of `corpus`, and of a run on it, needs."""
    from dataprep.funnel import funnel, top_sites

    return ReportData(
        title=f"The corpus {corpus.resolve().name}" if run is None else "From Reddit's links to a GPT",
        funnel=funnel(corpus),
        sites=top_sites(corpus, TOP_SITES),
        curve=read_curve(run) if run else None,
        sample=sample,
        paths=paths or [("Corpus", str(corpus))],
    )


def read_curve(run: Path) -> Curve:
    """Read a run's curve from its `metrics.jsonl` and, when it has ended, `summary.json`."""
    metrics, summary = run / "metrics.jsonl", run / "summary.json"
    if not metrics.exists():
        raise RunError(f"{metrics}: there is no such file; expected the directory of a training run")
    rows = [json.loads(line) for line in metrics.read_text().splitlines() if line.strip()]
    ended = json.loads(summary.read_text()) if summary.exists() else {}
    train = [(row["tokens"], row["loss"]) for row in rows if "loss" in row]
    tokens_at = {row["step"]: row["tokens"] for row in rows}
    return Curve(
        train=train,
        val=[(row["tokens"], row["val_loss"]) for row in rows if "val_loss" in row],
        unigram_entropy=ended.get("unigram_entropy_nats"),
        resumes=[tokens_at[step] for step in ended.get("resumes", ()) if step in tokens_at],
    )
