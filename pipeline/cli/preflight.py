"""`outbound preflight`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from pipeline.cli.app import Json, app, console, emit, progress


@app.command()
def preflight(
    gpu: Annotated[bool, typer.Option("--gpu", help="On this node's GPUs; without it, on its CPU.")] = False,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure speed instead, under srun that of all its nodes.")
    ] = False,
    json: Json = False,
) -> None:
    """Check that this machine computes what plain torch computes, in every layout.

    A tiny model takes six steps with clipping and a growing batch under pipeline stages, data parallelism
    and ZeRO 0-3, in fp32 beside plain torch and in bf16 beside one process; each layout reads the same
    checkpoint and goes on from it. Ends with code 1 when one of them differs.

    With --speed: products of large matrices, links between nodes, an all-reduce over all, and clocks. Ends
    with code 1 when one of at least three nodes is slow.
    """
    from pipeline.preflight.cases import cases_for_this_node

    cases = cases_for_this_node(gpu)
    if speed:
        _measure_speed(gpu, json)
        return
    from pipeline.preflight.run import CaseResult, report  # with torch, which now sees the right devices

    with progress("preflight", len(cases), "layouts") as advance:

        def tell(outcome: CaseResult) -> None:
            advance(1)
            console.print(line(outcome), highlight=False, soft_wrap=True)

        found = report(cases, tell)
    passed = len(found.outcomes) - len(found.failed)
    result: dict[str, Any] = {
        "device": "gpu" if gpu else "cpu",
        "passed": passed,
        "failed": len(found.failed),
        "left_out": found.left_out,
        "cases": [dataclasses.asdict(outcome) for outcome in found.outcomes],
    }
    text = f"{passed} of {len(found.outcomes)} layouts agree"
    if found.left_out:
        text += f"; {len(found.left_out)} need more GPUs: {', '.join(found.left_out)}"
    if found.log:
        result["log"] = str(found.log)
        text += f"; what the processes printed: {found.log}"
    emit(result, json, text)
    if found.failed:
        raise typer.Exit(1)


def _measure_speed(gpu: bool, json: bool) -> None:
    from pipeline.distributed.ranks import rank_from_environment
    from pipeline.preflight.speed import measure_here, measure_with_others

    rank = rank_from_environment()
    found = measure_with_others(rank) if rank else measure_here(gpu)
    if rank is None or rank.is_first:
        slow = [f"[red]slow[/] {node}: {reason}" for node, reason in found["slow"].items()]
        for text in [*found["nodes"], *slow]:
            console.print(text, highlight=False, soft_wrap=True)
        emit(found, json, found["summary"])
    if found["slow"]:
        raise typer.Exit(1)


def line(outcome: Any) -> str:
    """One outcome for people."""
    verdict = "[green]ok[/]    " if outcome.ok else "[red]differs[/]"
    numbers = "" if outcome.loss is None else f"  loss {outcome.loss:.0e}, norm {outcome.norm:.0e}"
    return f"{verdict} {outcome.case}{numbers}{'  ' + outcome.reason if outcome.reason else ''}"
