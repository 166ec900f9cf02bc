"""The pictures of the pages: inline SVG in the colours of the page, which follow light and dark mode, or PNG.

Matplotlib's object API only: no global figure, no display, the same bytes for the same numbers.
"""

from __future__ import annotations

import colorsys
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from dataprep.audit.funnel import StageCount
from dataprep.audit.score_histograms import ScoreHistogram
from dataprep.audit.statistics import Growth

INK, FAINT, KEPT, LOST, LINE, DOTS = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_VARIABLES = {INK: "ink", FAINT: "faint", KEPT: "kept", LOST: "lost", LINE: "line", DOTS: "dots"}
"""Stand-in colours that become the page's CSS variables."""

_PRINTED = {
    INK: "#22262b",
    FAINT: "#d9d8d2",
    KEPT: "#2a7f86",
    LOST: "#c2662d",
    LINE: "#2a6fb0",
    DOTS: "#a1347c",
}
"""What stands for them in a PNG."""

WIDTH_IN = 9.0
LEAST_COLUMNS = 8
"""Room that a histogram of few columns leaves, so that none is as wide as the page."""
SCORES_IN_A_ROW = 3
INSIDE, BESIDE = 6, 8
"""Labels that stand among the lines; of more, those of one column beside them."""
SMOOTHED_STEPS, SMOOTHED_SHARE = 4.0, 0.015  # time constant of the running mean: the larger of the two


@dataclass(frozen=True)
class Curve:
    """Loss in nats a token, against tokens or hours: the place.

    train, val: (place, loss) in order; resumes: places at which a stopped run went on. new_sets: places of
    each val that is the first on another held-out set: documents of the one before it were forgotten.
    """

    train: Sequence[tuple[float, float]]
    val: Sequence[tuple[float, float]]
    unigram_entropy: float | None = None
    resumes: Sequence[float] = ()
    new_sets: Sequence[float] = ()
    across: str = "tokens"
    """What the places count."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Some series against tokens or hours, (place, value) in order by their names; an empty one keeps its
    colour for other panels."""

    name: str
    title: str
    lead: str
    """One sentence on what it shows."""
    unit: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    dots: bool = False
    """Whether each point is marked: there are few."""
    across: str = "tokens"
    """What the places count."""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart, with the words on its left and at its end."""

    label: str
    count: int
    note: str
    colour: str


def funnel_picture(funnel: Sequence[StageCount]) -> str:
    """Bars of what passed each stage, and below each a bar for every reason of loss."""
    bars: list[Bar] = []
    for stage in funnel:
        bars.append(
            Bar(stage.stage, stage.passed, f"{stage.passed:,} of {stage.entered:,} {stage.unit}", KEPT)
        )
        losses = sorted(stage.reasons.items(), key=lambda item: (-item[1], item[0]))
        bars += [
            Bar(reason.replace("_", " "), count, f"{count:,}", LOST) for reason, count in losses if count
        ]
    passed = ", ".join(f"{s.stage} {s.passed:,} of {s.entered:,} {s.unit}" for s in funnel)
    return _bars("funnel", bars, f"Funnel of documents: {passed}")


def sites_picture(sites: Sequence[tuple[str, int]]) -> str:
    """Kept documents of the sites that gave most."""
    bars = [Bar(site, count, f"{count:,}", KEPT) for site, count in sites]
    summary = ", ".join(f"{site} {count:,}" for site, count in sites[:5])
    return _bars("sites", bars, f"Documents kept by site: {summary}")


def counts_picture(name: str, title: str, counts: Mapping[str, int], good: str = "") -> str:
    """Bars of what there is how many of, the most first; `good` is coloured as kept, all else by default."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    bars = [
        Bar(word.replace("_", " "), count, f"{count:,}", KEPT if good in ("", word) else LOST)
        for word, count in ordered
    ]
    summary = ", ".join(f"{word} {count:,}" for word, count in ordered[:5])
    return _bars(name, bars, f"{title}: {summary}")


def histogram_picture(name: str, title: str, unit: str, bins: Sequence[tuple[int, int]]) -> str:
    """Columns of documents over bins that double in width."""
    figure, axes = canvas(2.6)
    counts = dict(bins)
    first, last = min(counts, default=0), max(counts, default=0)
    doubling = range(max(first.bit_length() - 1, 0), last.bit_length())
    lows = [0] * (first == 0) + [1 << power for power in doubling]
    places = range(len(lows))
    axes.bar(places, [counts.get(low, 0) for low in lows], width=0.86, color=KEPT)
    axes.set_xticks(places, [f"{low:,}" for low in lows])
    axes.set_xlim(-0.6, max(len(lows), LEAST_COLUMNS) - 0.4)
    axes.set_xlabel(f"{unit}, from", color=INK)
    axes.set_ylabel("documents", color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    summary = ", ".join(f"{count:,} from {low:,} {unit}" for low, count in bins)
    return inline_svg(name, figure, f"{title}: {summary}")


def scores_picture(histograms: Sequence[ScoreHistogram]) -> str:
    """A small histogram for each score that a rule bounds, with its bounds; what is beyond them in another
    colour."""
    rows = -(-len(histograms) // SCORES_IN_A_ROW)
    figure, grid = canvases(1.9 * rows, rows, SCORES_IN_A_ROW)
    for axes, each in zip(grid, histograms, strict=False):
        axes.bar(range(len(each.counts)), each.counts, width=0.9, align="edge", color=_bin_colours(each))
        for rule, bound in each.bounds.items():
            place = float(np.interp(bound, each.edges, range(len(each.edges))))
            axes.axvline(place, color=INK, linestyle="--", linewidth=1)
            name, top = f" {rule.rpartition('.')[2][:3]} {bound:g}", axes.get_xaxis_transform()
            axes.text(place, 1, name, fontsize=7, color=INK, transform=top, va="top")
        ticks = range(0, len(each.edges), max(1, (len(each.edges) - 1) // 4))
        axes.set_xticks(ticks, [f"{each.edges[tick]:g}" for tick in ticks])
        axes.tick_params(labelsize=7)
        axes.yaxis.set_major_formatter(lambda value, _: short(value))
        axes.set_title(each.column.replace("_", " "), loc="left", fontsize=8.5, color=INK)
    for axes in grid[len(histograms) :]:
        axes.set_visible(False)
    ruled = ", ".join(f"{rule} {bound:g}" for each in histograms for rule, bound in each.bounds.items())
    return inline_svg("scores", figure, f"Documents by score, with the bounds {ruled}")


def _bin_colours(histogram: ScoreHistogram) -> list[str]:
    """The colour of each bin: whether its documents stand beyond a bound, but for the bin that it cuts."""
    colours = []
    for low, high in pairwise(histogram.edges):
        least = [bound for rule, bound in histogram.bounds.items() if ".min_" in f".{rule}"]
        most = [bound for rule, bound in histogram.bounds.items() if ".max_" in f".{rule}"]
        lost = any(high <= bound for bound in least) or any(low > 0 and low >= bound for bound in most)
        colours.append(LOST if lost else KEPT)
    return colours


def growth_picture(growth: Sequence[Growth]) -> str:
    """Documents that each increment brought, kept above what it repeated; the sum of all kept as a line."""
    figure, axes = canvas(3.4)
    places = range(len(growth))
    kept = [row.kept for row in growth]
    repeated = [sum(row.duplicates.values()) for row in growth]
    other = [row.documents - row.kept - again for row, again in zip(growth, repeated, strict=True)]
    axes.bar(places, kept, width=0.7, color=KEPT, label="kept")
    axes.bar(places, repeated, width=0.7, bottom=kept, color=LOST, label="duplicates")
    bottom = [first + second for first, second in zip(kept, repeated, strict=True)]
    axes.bar(places, other, width=0.7, bottom=bottom, color=FAINT, label="other losses")
    total = list(accumulate(kept))
    axes.plot(places, total, color=LINE, marker="o", markersize=4, label="kept so far")
    step = max(1, len(growth) // 12)
    axes.set_xticks(places[::step], [row.increment for row in growth][::step])
    axes.set_ylabel("documents", color=INK)
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        frameon=False, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=4
    )  # off the bars
    summary = ", ".join(f"{row.increment} {row.kept:,} of {row.documents:,}" for row in growth)
    return inline_svg("growth", figure, f"Documents kept of each increment: {summary}")


def duplicates_picture(growth: Sequence[Growth]) -> str:
    """For each increment a bar for every way in which its documents repeated earlier ones."""
    bars = [
        Bar(f"{row.increment}: {reason.replace('_', ' ')}", count, _share(count, row.documents), LOST)
        for row in growth
        for reason, count in row.duplicates.items()
    ]
    summary = ", ".join(f"{row.increment} {sum(row.duplicates.values()):,}" for row in growth)
    return _bars("duplicates", bars, f"Duplicates by increment: {summary}")


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / max(of, 1):.1%})"


def loss_picture(curve: Curve) -> str:
    """Training and validation loss against tokens, the unigram entropy as a line, resumes marked."""
    figure, axes = canvas(3.8)
    _draw_loss(axes, curve)
    return inline_svg("loss", figure, _loss_in_words(curve))


def panel_picture(panel: Panel) -> str:
    """The series of a panel."""
    figure, axes = canvas(2.6)
    _draw_panel(axes, panel)
    drawn = {name: points for name, points in panel.series.items() if points}
    ends = ", ".join(f"{name} ends at {points[-1][1]:.4g}" for name, points in drawn.items())
    return inline_svg(panel.name, figure, f"{panel.title}: {ends}")


def png(pictures: Sequence[Curve | Panel]) -> bytes:
    """Loss and panels, one below the other, as a PNG for a light background."""
    buffer = io.BytesIO()
    _printed_figure(pictures).savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def svg(pictures: Sequence[Curve | Panel]) -> bytes:
    """The same as an SVG file, its text as text."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "monitor"}):
        figure = _printed_figure(pictures)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    for colour, printed in _PRINTED.items():  # ticks are made, in their axes' colours, while it is drawn
        text = text.replace(colour, printed)
    return text.encode()


def _printed_figure(pictures: Sequence[Curve | Panel]) -> Any:
    """A figure on white, with a title on each picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [3.8 if isinstance(picture, Curve) else 2.6 for picture in pictures]
    figure = Figure(figsize=(WIDTH_IN, sum(heights)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, picture in zip(grid, pictures, strict=True):
        _style(axes)
        title = "Loss" if isinstance(picture, Curve) else picture.title
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        if isinstance(picture, Curve):
            _draw_loss(axes, picture)
        else:
            _draw_panel(axes, picture)
    for artist in figure.findobj():
        for part in ("color", "facecolor", "edgecolor"):
            stands = getattr(artist, f"get_{part}", None)  # a rectangle can set a colour that it cannot get
            if stands and (colour := _printed(stands())):
                getattr(artist, f"set_{part}")(colour)
    return figure


def _printed(colour: Any) -> str | None:
    """The printed colour of a stand-in; None of any other."""
    from matplotlib.colors import is_color_like, to_hex

    return _PRINTED.get(to_hex(colour)) if is_color_like(colour) else None


def _draw_loss(axes: Any, curve: Curve) -> None:
    if curve.train:
        tokens, losses = zip(*curve.train, strict=True)
        axes.plot(tokens, losses, color=LINE, linewidth=0.8, alpha=0.35, label="training")
        axes.plot(tokens, smoothed(losses), color=LINE, linewidth=1.8, label="training, smoothed")
    for number, points in enumerate(_by_set(curve)):
        label = "validation" if number == 0 else None
        axes.plot(*zip(*points, strict=True), color=DOTS, marker="o", markersize=5, label=label)
    for number, place in enumerate(curve.new_sets):
        label = "another held-out set" if number == 0 else None
        axes.axvline(place, color=DOTS, linestyle="-.", linewidth=1.4, label=label)
    if curve.unigram_entropy is not None:
        axes.axhline(curve.unigram_entropy, color=INK, linestyle="--", linewidth=1, label="unigram entropy")
    for number, place in enumerate(curve.resumes):
        label = "stopped and resumed" if number == 0 else None
        axes.axvline(place, color=LOST, linestyle=":", linewidth=1.4, label=label)
    _against(curve.across, axes, "loss (nats per token)")


def _by_set(curve: Curve) -> list[list[tuple[float, float]]]:
    """Validation losses by held-out set: no line joins losses on different sets.

    >>> _by_set(Curve([], [(1, 6.0), (2, 5.0), (3, 5.5)], new_sets=[3]))
    [[(1, 6.0), (2, 5.0)], [(3, 5.5)]]
    """
    parts: list[list[tuple[float, float]]] = []
    for tokens, loss in curve.val:
        if not parts or tokens in curve.new_sets:
            parts.append([])
        parts[-1].append((tokens, loss))
    return parts


def _draw_panel(axes: Any, panel: Panel) -> None:
    for number, (name, points) in enumerate(panel.series.items()):
        colour, style = _stage_colour(name), "-"
        if colour is None:
            colour = (LINE, LOST, KEPT, DOTS, INK)[number % 5]
            style = ("-", "--", ":")[number // 5 % 3]
        label = name if len(panel.series) > 1 else None
        if not points:
            continue
        axes.plot(
            *zip(*points, strict=True),
            color=colour,
            linestyle=style,
            linewidth=1.3,
            marker="o" if panel.dots else "",
            label=label,
        )
    _against(panel.across, axes, panel.unit)


def _stage_colour(series: str) -> str | None:
    """The colour of a pipeline stage, the same in every panel; None of another series.

    Hues are a golden section of the circle apart, so that any number of stages differ (Fisher & Vogel 1979);
    "mean", which stands among stages, is in ink.

    >>> _stage_colour("stage 0"), _stage_colour("stage 1"), _stage_colour("mean"), _stage_colour("books")
    ('#5086c7', '#a9c750', '#010101', None)
    """
    if series == "mean":
        return INK
    kind, _, number = series.partition(" ")
    if kind != "stage" or not number.isdecimal():
        return None
    red, green, blue = colorsys.hsv_to_rgb((0.59 + 0.618034 * int(number)) % 1, 0.6, 0.78)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _against(across: str, axes: Any, what: str) -> None:
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(what, color=INK)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    labels = len(axes.get_legend_handles_labels()[0])
    beside = (
        {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": -(-labels // BESIDE), "fontsize": 8}
        if labels > INSIDE
        else {}
    )
    if labels:
        axes.legend(frameon=False, labelcolor=INK, **beside)


def _bars(name: str, bars: Sequence[Bar], title: str) -> str:
    """Horizontal bars from top to bottom, what was kept in bold."""
    figure, axes = canvas(0.4 + 0.26 * max(len(bars), 1))
    places = range(len(bars), 0, -1)
    counts = [bar.count for bar in bars]
    reach = max(counts, default=1) or 1
    axes.barh(places, counts, height=0.72, color=[bar.colour for bar in bars])
    for place, bar in zip(places, bars, strict=True):
        axes.text(bar.count + reach * 0.008, place, bar.note, va="center", fontsize=8.5, color=INK)
    axes.set_yticks(places, [bar.label for bar in bars])
    for label, bar in zip(axes.get_yticklabels(), bars, strict=True):
        label.set_weight("bold" if bar.colour == KEPT else "normal")
    axes.set_xlim(0, reach * 1.3)
    axes.set_ylim(0.3, len(bars) + 0.7)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return inline_svg(name, figure, title)


def canvas(height_in: float) -> tuple[Any, Any]:
    """A figure as wide as the page, and its one axes."""
    figure, (axes,) = canvases(height_in, 1, 1)
    return figure, axes


def canvases(height_in: float, rows: int, columns: int) -> tuple[Any, list[Any]]:
    """A figure as wide as the page, and its axes, row by row."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.patch.set_visible(False)
        _style(axes)
    return figure, grid


def _style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)


def inline_svg(name: str, figure: Any, title: str) -> str:
    """A figure as an inline `<svg>` that stretches, names itself, and shares no id with another."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font(-family)?: ([\d.]+px )?[^;\"]*sans-serif", r"font\1: \2inherit", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    head, _, rest = svg.partition(">")
    label = f'role="img" aria-labelledby="{name}-title"'
    return f'{head} {label}>\n <title id="{name}-title">{html.escape(title)}</title>{rest}'


def smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential running mean, its start corrected as Adam's is (Kingma & Ba 2015, section 3)."""
    keep = 1 - 1 / max(SMOOTHED_STEPS, len(losses) * SMOOTHED_SHARE)
    mean, weight, smooth = 0.0, 0.0, []
    for loss in losses:
        mean = keep * mean + (1 - keep) * loss
        weight = keep * weight + (1 - keep)
        smooth.append(mean / weight)
    return smooth


def _loss_in_words(curve: Curve) -> str:
    parts = []
    if curve.train:
        parts.append(f"training loss from {curve.train[0][1]:.2f} to {curve.train[-1][1]:.2f}")
    if curve.val:
        parts.append(f"validation loss ends at {curve.val[-1][1]:.2f}")
    parts += [f"another held-out set from {place:,} {curve.across} on" for place in curve.new_sets]
    if curve.unigram_entropy is not None:
        parts.append(f"unigram entropy is {curve.unigram_entropy:.2f}")
    return f"Loss against {curve.across}: " + ", ".join(parts)


def short(value: float) -> str:
    """A count with its unit letter.

    >>> short(1_500_000), short(250_000), short(0)
    ('1.5M', '250k', '0')
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
