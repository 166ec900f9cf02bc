"""A crawl as people see it: live on a terminal, a line now and then in a log, and as metrics in W&B."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dataprep.corpus.directory import Increment
from dataprep.crawl.estimate import words
from dataprep.crawl.progress import Look, SlowSite, View
from pipeline.monitor.metrics_logger import wandb_id

LINE_EVERY_S = 30.0
"""Where there is no terminal, a line appears this often, and one at the end."""
ANNOUNCE_FROM_S = 60.0
"""A crawl that is expected to take as long is announced with an estimate."""
LOG_EVERY_S = 10.0
"""W&B gets a point this often, and one at the end."""


class Observer(Protocol):
    """Is shown view after view, then closed; failed says whether the crawl ended by an error."""

    def show(self, view: View) -> None: ...

    def close(self, *, failed: bool) -> None: ...


@contextmanager
def watching(root: Path, wandb_project: str | None, console: Console, increment: Increment) -> Iterator[Look]:
    """Open what shows the crawl of an increment of the corpus at `root`; yields what is handed the views."""
    observers: list[Observer] = [Terminal(console) if console.is_terminal else Lines(console)]
    if wandb_project:
        observers.append(Metrics(root, wandb_project, increment.path.name))

    def look(view: View) -> None:
        for observer in observers:
            observer.show(view)

    failed = True
    try:
        yield look
        failed = False
    finally:
        for observer in observers:
            observer.close(failed=failed)


class Terminal:
    """A block of four lines that is drawn again with every view."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, view: View) -> None:
        _announce(view, self._live.console)
        self._live.update(block(view), refresh=True)

    def close(self, *, failed: bool) -> None:
        self._live.stop()


class Lines:
    """One plain line every LINE_EVERY_S seconds, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_at = time.monotonic()
        self._unsaid: View | None = None

    def show(self, view: View) -> None:
        _announce(view, self._console)
        self._unsaid = view
        if time.monotonic() - self._said_at >= LINE_EVERY_S:
            self._say()

    def close(self, *, failed: bool) -> None:
        self._say()

    def _say(self) -> None:
        if self._unsaid is not None:
            self._console.print(line(self._unsaid), highlight=False, markup=False, soft_wrap=True)
            self._said_at, self._unsaid = time.monotonic(), None


def _announce(view: View, console: Console) -> None:
    """Print the estimate of a crawl before it begins, if the crawl is long enough for anyone to wait."""
    if view.expected and view.expected.seconds >= ANNOUNCE_FROM_S:
        text = f"{view.title}: {words(view.expected)}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)


class Metrics:
    """A W&B run of the increment: the same one when `corpus add` runs again. Its files are in ROOT/wandb."""

    def __init__(self, root: Path, project: str, increment: str) -> None:
        os.environ["WANDB_SILENT"] = "true"
        import wandb

        ids = root / "wandb" / increment
        ids.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=project,
            id=wandb_id(ids),
            name=f"{root.resolve().name} {increment}",
            job_type="crawl",
            dir=root,
            resume=None if os.environ.get("WANDB_MODE") == "offline" else "allow",
            settings=wandb.Settings(console="off"),
        )
        self._logged_at = 0.0
        self._unlogged: View | None = None

    def show(self, view: View) -> None:
        self._unlogged = view
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            self._log()

    def close(self, *, failed: bool) -> None:
        self._log()
        self._run.finish(exit_code=1 if failed else 0)

    def _log(self) -> None:
        if self._unlogged is not None:
            self._run.log(metrics(self._unlogged))
            self._logged_at, self._unlogged = time.monotonic(), None


def metrics(view: View) -> dict[str, Any]:
    """The numbers of a view by the names that W&B shows; all start with the round's title.

    >>> metrics(View("fetch", done=2, total=4, time_left_s=9.0))["fetch/time_left_s"]
    9.0
    """
    numbers = {
        "done": view.done,
        "total": view.total,
        "pages_per_s": view.pages_per_s,
        "urls_per_s": view.urls_per_s,
        "deferred": view.deferred,
        "queue/sites_waiting": view.sites_waiting,
        "queue/sites_under_way": view.sites_under_way,
        "queue/requests": view.requests,
        **{f"outcomes/{outcome}": count for outcome, count in view.outcomes.items()},
    }
    if view.time_left_s is not None:
        numbers["time_left_s"] = view.time_left_s
    if view.slowest:
        numbers["slowest/time_left_s"] = view.slowest[0].time_left_s
        numbers["slowest/seconds_per_url"] = view.slowest[0].seconds_per_url
    return {f"{view.title}/{name}": number for name, number in numbers.items()}


def line(view: View) -> str:
    """A view as one line.

    >>> line(View("fetch", done=2, total=4, pages_per_s=1.5, requests=1, sites_under_way=1))
    'fetch 2/4 URLs, 1.5 pages/s, ? left; queue: 0 sites wait, 1 under way, 1 requests, 0 deferred'
    """
    parts = [f"{view.title} {_pace(view)}", f"queue: {_queue(view)}"]
    if view.outcomes:
        parts.append(f"outcomes: {_outcomes(view)}")
    if view.slowest:
        parts.append(f"slowest: {_slowest(view.slowest)}")
    return "; ".join(parts)


def block(view: View) -> Table:
    """A view as a block for the terminal."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", min_width=12, style="bold")
    grid.add_column(overflow="ellipsis", no_wrap=True)
    head = Table.grid(padding=(0, 1))
    head.add_row(ProgressBar(total=max(view.total, 1), completed=view.done, width=40), Text(_pace(view)))
    grid.add_row(view.title, head)
    grid.add_row("queue", Text(_queue(view)))
    grid.add_row("outcomes", Text(_outcomes(view)))
    grid.add_row("slowest", Text(_slowest(view.slowest)))
    return grid


def _pace(view: View) -> str:
    return (
        f"{view.done:,}/{view.total:,} URLs, {view.pages_per_s:,.1f} pages/s, {_clock(view.time_left_s)} left"
    )


def _queue(view: View) -> str:
    others = f", {view.elsewhere:,} partitions crawled by others" if view.elsewhere else ""
    return (
        f"{view.sites_waiting:,} sites wait, {view.sites_under_way:,} under way, "
        f"{view.requests:,} requests, {view.deferred:,} deferred{others}"
    )


def _outcomes(view: View) -> str:
    return ", ".join(f"{outcome} {count:,}" for outcome, count in view.outcomes.most_common())


def _slowest(sites: tuple[SlowSite, ...]) -> str:
    return ", ".join(f"{site.name} ({site.left:,} left, {site.seconds_per_url:.1f} s each)" for site in sites)


def _clock(seconds: float | None) -> str:
    """Seconds as hours, minutes and seconds.

    >>> _clock(3723.0), _clock(61.0), _clock(None)
    ('1:02:03', '1:01', '?')
    """
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
