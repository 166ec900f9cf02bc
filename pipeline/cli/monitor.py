"""`outbound monitor`: look at a run, running or ended, or at several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, console, emit
from pipeline.cli.places import refuse_file


@app.command()
def monitor(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs' directories.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where the pictures go.", show_default="RUN/monitor"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="First print each new step until the run ends.")
    ] = False,
    wall_clock: Annotated[
        bool, typer.Option("--wall-clock", help="Draw against hours since the first step instead of tokens.")
    ] = False,
    panel: Annotated[
        list[str] | None,
        typer.Option(
            help="Also write this picture alone, as PANEL.svg and PANEL.png; all: each.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Draw a run, without any account: monitor.html, self-contained, monitor.png and monitor.svg.

    Of several runs, compare.html, .png and .svg in the first one's directory have a line for each.
    """
    from dataprep.store import files
    from pipeline.errors import UsageError
    from pipeline.monitor.charts import png, svg
    from pipeline.monitor.run_page import compare, compare_page, pictures, render

    directory = output or runs[0] / "monitor"
    refuse_file(directory)
    if follow and len(runs) > 1:
        raise UsageError("--follow: follows one run; give one, or leave it out")
    if follow:
        from pipeline.monitor.report import follow_metrics
        from pipeline.monitor.step_metrics import format_step

        for row in follow_metrics(runs[0]):
            if "batch" in row:
                console.print(format_step(row), highlight=False)
    shown = compare(runs, wall_clock) if len(runs) > 1 else pictures(runs[0], wall_clock)
    alone = list(shown) if panel == ["all"] else panel or []
    if unknown := [name for name in alone if name not in shown]:
        raise UsageError(
            f"--panel {', '.join(unknown)}: there is no such picture; choose from {', '.join(shown)}"
        )
    name = "compare" if len(runs) > 1 else "monitor"
    page = compare_page(runs, shown) if len(runs) > 1 else render(runs[0], shown)
    written = {f"{name}.html": page.encode()}
    for stem, drawn in {name: [*shown.values()], **{each: [shown[each]] for each in alone}}.items():
        if drawn:
            written |= {f"{stem}.png": png(drawn), f"{stem}.svg": svg(drawn)}
    directory.mkdir(parents=True, exist_ok=True)
    for file, content in written.items():
        files.replace(directory / file, content)
    result = {"html": str(directory / f"{name}.html"), "files": [str(directory / file) for file in written]}
    lines = [f"{result['html']}: open it in a browser", *result["files"][1:]]
    emit(result | {"png": str(directory / f"{name}.png")}, json, "\n".join(lines))
