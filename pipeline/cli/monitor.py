"""`outbound monitor`: look at a run, running or ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, console, emit
from pipeline.cli.places import refuse_file


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
        from pipeline.monitor.report import follow_metrics
        from pipeline.monitor.step_metrics import format_step

        for row in follow_metrics(run):
            if "batch" in row:
                console.print(format_step(row), highlight=False)
    page, picture = render(run)
    directory.mkdir(parents=True, exist_ok=True)
    files.replace(directory / "monitor.html", page.encode())
    files.replace(directory / "monitor.png", picture)
    result = {"html": str(directory / "monitor.html"), "png": str(directory / "monitor.png")}
    emit(result, json, f"{result['html']}: open it in a browser\n{result['png']}")
