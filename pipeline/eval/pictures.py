"""Pictures of scores, in the page's colours: panels of curves, and rows of dots with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.monitor.charts import DOTS, FAINT, INK, KEPT, LINE, LOST, canvas, canvases, inline_svg, short

COLUMNS = 3
"""Panels beside each other."""


@dataclass(frozen=True)
class Point:
    """A value at a place, with the ends of its interval where there is one."""

    at: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Curve:
    """Points in order of place; curves of one name share its colour. own: whether the models were evaluated
    here, as circles; what papers report are squares."""

    name: str
    points: Sequence[Point]
    own: bool = True


@dataclass(frozen=True)
class Panel:
    """Curves of one score."""

    title: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Dot:
    """One row: a value with its interval, and others to compare it with, by name."""

    name: str
    point: Point
    others: Sequence[tuple[str, float]] = ()


def panels_picture(name: str, title: str, panels: Sequence[Panel], along: str, log: bool = True) -> str:
    """A panel a score; `along` names what the places are."""
    rows = -(-len(panels) // COLUMNS)
    figure, grid = canvases(2.5 * rows, rows, COLUMNS)
    for axes, panel in zip(grid, panels, strict=False):
        names = list(dict.fromkeys(curve.name for curve in panel.curves))
        for curve in panel.curves:
            _draw_curve(axes, curve, (LINE, LOST, DOTS, INK)[names.index(curve.name) % 4])
        axes.set_title(panel.title, loc="left", fontsize=9, color=INK)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        if log:
            places = [point.at for curve in panel.curves for point in curve.points]
            axes.set_xscale("log")
            axes.set_xlim(min(places) / 3, max(places) * 3)
            axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: _magnitude(value) if log else short(value))
        axes.set_xlabel(along, color=INK, fontsize=8)
        axes.legend(frameon=False, labelcolor=INK, fontsize=7.5)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    ends = [
        (panel, curve.name, curve.points[-1].value) for panel in panels for curve in panel.curves if curve.own
    ]
    summary = ", ".join(f"{panel.title}: {curve} ends at {value:.4g}" for panel, curve, value in ends)
    return inline_svg(name, figure, f"{title}. {summary}")


def dots_picture(name: str, title: str, dots: Sequence[Dot], unit: str, zero: bool = False) -> str:
    """A row a dot, from top to bottom. zero: a line marks 0, which values lie on either side of."""
    figure, axes = canvas(0.9 + 0.27 * len(dots))
    places = range(len(dots), 0, -1)
    own: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "", "color": KEPT}
    axes.plot([dot.point.value for dot in dots], places, label="this model", **own)
    for place, dot in zip(places, dots, strict=True):
        if dot.point.low is not None and dot.point.high is not None:
            axes.plot([dot.point.low, dot.point.high], [place] * 2, color=KEPT, linewidth=2)
    others = list(dict.fromkeys(other for dot in dots for other, _ in dot.others))
    for number, other in enumerate(others):
        at = [
            (value, place)
            for place, dot in zip(places, dots, strict=True)
            for name, value in dot.others
            if name == other
        ]
        hollow = own | {"markerfacecolor": "none", "color": (LOST, DOTS, INK)[number % 3]}
        axes.plot(*zip(*at, strict=True), label=other, **hollow)
    if zero:
        axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(places, [dot.name for dot in dots])
    axes.set_ylim(0.3, len(dots) + 0.7)
    axes.set_xlabel(unit, color=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    if others:
        axes.legend(frameon=False, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    return inline_svg(
        name, figure, f"{title}: {', '.join(f'{dot.name} {dot.point.value:.2f}' for dot in dots)}"
    )


def _draw_curve(axes: Any, curve: Curve, colour: str) -> None:
    places = [point.at for point in curve.points]
    values = [point.value for point in curve.points]
    if not curve.own:
        axes.plot(places, values, color=colour, marker="s", markersize=3.5, linewidth=1)
        return
    axes.plot(places, values, color=colour, marker="o", markersize=5, label=curve.name)
    for point in curve.points:
        if point.low is not None and point.high is not None:
            axes.plot([point.at] * 2, [point.low, point.high], color=colour)


def _magnitude(value: float) -> str:
    """
    >>> _magnitude(1e6), _magnitude(1e19), _magnitude(3e8)
    ('1M', '1e+19', '300M')
    """
    return short(value) if value < 1e12 else f"{value:.0e}"
