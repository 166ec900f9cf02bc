"""One page that tells the whole story of a corpus and of the run trained on it: `report.html`.

Self-contained: styles and pictures are inside, nothing is loaded from anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprep.audit.funnel import StageCount
from dataprep.audit.sample import decided, excerpt, samples
from dataprep.audit.score_histograms import ScoreHistogram, score_histograms
from dataprep.audit.sizes import SIDES, PackedTokens, Size, Sizes, kept_sizes
from dataprep.audit.statistics import CorpusStatistics, corpus_statistics, versions_of
from dataprep.corpus.directory import Build, Corpus
from dataprep.selection.exclude import select_of
from pipeline.checkpoint import attempts
from pipeline.monitor.charts import (
    Curve,
    counts_picture,
    duplicates_picture,
    funnel_picture,
    growth_picture,
    histogram_picture,
    loss_picture,
    scores_picture,
    sites_picture,
)
from pipeline.monitor.run_files import joined_metrics, read_summary
from pipeline.version import version

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"
TOP_SITES = 15
TOP_LANGUAGES = 15
SAMPLED_VERDICTS, SAMPLES, SAMPLE_SEED = 8, 3, 0
"""The verdicts of which documents are shown, how many of each, and the seed that draws them."""
EXCERPT = 500
"""Characters of their texts."""


@dataclass(frozen=True)
class GeneratedText:
    """Text that a model generated after a prompt."""

    prompt: str
    text: str


@dataclass(frozen=True)
class ReportData:
    """All that a report shows; a corpus that no model was trained on has no curve and no sample.

    sites: kept documents by site, most first. paths: what lies where. made: what decided the content, and its
    version. samples: `described` documents by verdict. scores: what the recipe's thresholds bound.
    """

    title: str
    funnel: Sequence[StageCount]
    sites: Sequence[tuple[str, int]]
    curve: Curve | None = None
    sample: GeneratedText | None = None
    paths: Sequence[tuple[str, str]] = ()
    statistics: CorpusStatistics = field(default_factory=CorpusStatistics)
    sizes: Sizes = field(default_factory=Sizes)
    made: Sequence[tuple[str, str]] = ()
    samples: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    scores: Sequence[ScoreHistogram] = ()


def render(data: ReportData) -> str:
    """The report as one HTML document; the same data give the same text."""
    from markupsafe import Markup

    return page_template("report.html.j2").render(
        data=data,
        figures=key_figures(data),
        sizes=list(size_tables(data.sizes)),
        samples={verdict: shown(documents) for verdict, documents in data.samples.items()},
        scores=Markup(scores_picture(data.scores)) if data.scores else "",
        funnel=Markup(funnel_picture(data.funnel)) if data.funnel else "",
        pictures=[(*about, Markup(picture)) for *about, picture in pictures_of(data.statistics)],
        sites=Markup(sites_picture(data.sites)) if data.sites else "",
        loss=Markup(loss_picture(data.curve)) if data.curve else "",
    )


def page_template(name: str, folder: Path = TEMPLATES) -> Template:
    """A template of a page, which may extend those of TEMPLATES."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader([folder, TEMPLATES])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(name)


def pictures_of(statistics: CorpusStatistics) -> Iterator[tuple[str, str, str, str]]:
    """Name, headline, explanation and picture of each part of a corpus's statistics that there is."""
    if statistics.growth:
        lead = "What each increment brought, and what it all comes to."
        yield "growth", "How the corpus grew", lead, growth_picture(statistics.growth)
    if any(growth.duplicates for growth in statistics.growth):
        lead = "Documents that repeat an earlier one, with their share of the increment."
        yield "duplicates", "What was there already", lead, duplicates_picture(statistics.growth)
    if statistics.outcomes:
        lead = "How the last fetch of every link ended."
        picture = counts_picture("outcomes", "Outcomes of the crawl", statistics.outcomes, good="ok")
        yield "outcomes", "How the crawl went", lead, picture
    if statistics.languages:
        first = dict(list(statistics.languages.items())[:TOP_LANGUAGES])
        rest = sum(statistics.languages.values()) - sum(first.values())
        named = first | ({"all others": rest} if rest else {})
        lead = "Kept documents by the language of their text (ISO 639-1)."
        yield "languages", "Languages", lead, counts_picture("languages", "Kept by language", named)
    if statistics.words:
        lead = "Kept documents by their number of words; each column is twice as wide as the one before."
        picture = histogram_picture("lengths", "Kept documents by length", "words", statistics.words)
        yield "lengths", "How long the texts are", lead, picture
    if statistics.karma:
        lead = "Kept documents by the karma of their link; each column is twice as wide as the one before."
        picture = histogram_picture("karma", "Kept documents by karma", "karma", statistics.karma)
        yield "karma", "How much they were liked", lead, picture


def size_tables(sizes: Sizes) -> Iterator[tuple[str, list[tuple[str, Size]]]]:
    """The sizes of the largest sites and languages, and of all months in their order, each with its sum."""
    for side, found in sizes.by.items():
        ordered = sorted(found.items()) if side == "month" else list(found.items())
        first = ordered if side == "month" else ordered[:TOP_SITES]
        rest = Size()
        for _, size in ordered[len(first) :]:
            rest = rest.plus(size)
        others = [(f"{len(ordered) - len(first):,} others", rest)] if rest.documents else []
        yield side, [*first, *others, ("all", sizes.total)]


def shown(documents: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any], str]]:
    """What decided on each document, the document, and the beginning of its text."""
    return [(decided(each), each, excerpt(each["text"], EXCERPT)) for each in documents]


def key_figures(data: ReportData) -> list[tuple[str, str]]:
    """The few numbers at the head of the report, as (number, what it counts)."""
    figures = []
    if data.funnel:
        first, last = data.funnel[0], data.funnel[-1]
        figures += [(f"{first.entered:,}", f"{first.unit} read"), (f"{last.passed:,}", f"{last.unit} kept")]
    if data.sizes.total.documents:
        total = data.sizes.total
        figures += [(f"{total.words:,}", "words"), (f"{total.characters:,}", "characters")]
        figures += [(f"{total.tokens:,}", "tokens")] if total.tokens is not None else []
    if data.curve and data.curve.train:
        figures.append((f"{data.curve.train[-1][0]:,}", "tokens trained on"))
    if data.curve and data.curve.val:
        figures.append((f"{data.curve.val[-1][1]:.3f}", "validation loss, nats a token"))
    if data.curve and data.curve.unigram_entropy is not None:
        figures.append((f"{data.curve.unigram_entropy:.3f}", "unigram entropy, nats a token"))
    return figures


def gather(
    corpus: Path,
    run: Path | None = None,
    sample: GeneratedText | None = None,
    paths: Sequence[tuple[str, str]] = (),
    packed: PackedTokens | None = None,
) -> ReportData:
    """Read what a report of `corpus`, and of a run on it, needs. packed: counts tokens, too."""
    from dataprep.audit.funnel import funnel, top_sites

    opened = Corpus.open(corpus)
    build = opened.build
    rules = select_of(opened, build) if build else None
    return ReportData(
        title=f"The corpus {corpus.resolve().name}" if run is None else "From Reddit's links to a GPT",
        funnel=funnel(corpus),
        sites=top_sites(corpus, TOP_SITES),
        curve=read_curve(run) if run else None,
        sample=sample,
        paths=paths or [("Corpus", str(corpus))],
        statistics=corpus_statistics(opened),
        sizes=kept_sizes(opened, packed, tuple(SIDES)),
        made=made_with(opened, build),
        samples=samples(opened, SAMPLES, SAMPLE_SEED, SAMPLED_VERDICTS),
        scores=score_histograms(opened, build, rules) if build and rules else (),
    )


def made_with(corpus: Corpus, build: Build | None) -> list[tuple[str, str]]:
    """The recipe, the build, today's date, and the versions of all that decided the content."""
    found = {name: ", ".join(sorted(versions)) for name, versions in versions_of(corpus, build).items()}
    return [
        ("recipe", corpus.recipe.name),
        ("build", build.name if build else "none"),
        ("date of this report", f"{datetime.now(UTC):%Y-%m-%d}"),
        ("outbound", version()),
        *sorted(found.items()),
    ]


def follow_metrics(run: Path, poll_s: float = 1.0) -> Iterator[dict[str, Any]]:
    """Every row of the metrics, then new ones until the run has ended or Ctrl-C.

    Steps that were undone come once more when they are taken again.
    """
    shown: list[dict[str, Any]] = []
    try:
        while True:
            ended = attempts.latest_file(run, "summary.json")  # looked at first: all before it is read yet
            rows = joined_metrics(run)
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(rows, shown, strict=False)))
            yield from rows[same:]
            shown = rows
            if ended:
                return
            time.sleep(poll_s)
    except KeyboardInterrupt:
        return


def read_curve(run: Path) -> Curve:
    """Read a run's curve from its metrics and, when it has ended, `summary.json`."""
    return curve_of(joined_metrics(run), read_summary(run))


def curve_of(rows: Sequence[dict[str, Any]], ended: dict[str, Any]) -> Curve:
    """The curve of a run from its metrics and its summary, which is empty before the end."""
    train = [(row["tokens"], row["loss"]) for row in rows if "loss" in row]
    tokens_at = {row["step"]: row["tokens"] for row in rows}
    held_out = [row for row in rows if "val_loss" in row]
    return Curve(
        train=train,
        val=[(row["tokens"], row["val_loss"]) for row in held_out],
        unigram_entropy=ended.get("unigram_entropy_nats"),
        resumes=[tokens_at[step] for step in ended.get("resumes", ()) if step in tokens_at],
        new_sets=tuple(
            row["tokens"] for last, row in pairwise(held_out) if row.get("val_set") != last.get("val_set")
        ),
    )
