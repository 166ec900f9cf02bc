"""`outbound monitor`: look at a run, running or ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.app import Json, app, console, emit
from pipeline.cli.places import refuse_file

POLL_S = 1.0


@app.command()
def monitor(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where the pictures go.", show_default="RUN/monitor"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="First print each new step until the run ends.")
    ] = False,
    json: Json = False,
) -> None:
    """Draw a run, without any account: monitor.html, self-contained, and monitor.png."""
    from dataprep.store import files
    from pipeline.monitor.run_page import render

    directory = output or run / "monitor"
    refuse_file(directory)
    if follow:
        from pipeline.monitor.step_metrics import format_step

        for row in _rows_as_they_come(run):
            if "batch" in row:
                console.print(format_step(row), highlight=False)
    page, picture = render(run)
    directory.mkdir(parents=True, exist_ok=True)
    files.replace(directory / "monitor.html", page.encode())
    files.replace(directory / "monitor.png", picture)
    result = {"html": str(directory / "monitor.html"), "png": str(directory / "monitor.png")}
    emit(result, json, f"{result['html']}: open it in a browser\n{result['png']}")


def _rows_as_they_come(run: Path) -> Iterator[dict[str, Any]]:
    """Every row of the metrics, then new ones until the run has ended or Ctrl-C."""
    from pipeline.monitor.report import read_metrics

    shown = 0
    try:
        while True:
            ended = (run / "summary.json").exists()  # looked at first: what comes before it is read yet
            rows = read_metrics(run)
            yield from rows[shown:]
            shown = len(rows)  # fewer than before when the run has gone back to a checkpoint
            if ended:
                return
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        return
