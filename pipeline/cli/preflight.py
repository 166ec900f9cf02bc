"""`outbound preflight`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.app import Json, app, console, emit, progress


@app.command()
def preflight(
    gpu: Annotated[bool, typer.Option("--gpu", help="On this node's GPUs; without it, on its CPU.")] = False,
    json: Json = False,
) -> None:
    """Check that this machine computes what plain torch computes, in every layout.

    A tiny model takes six steps with clipping and a growing batch under pipeline stages, data parallelism
    and ZeRO 0-3, in fp32 beside plain torch and in bf16 beside one process; each layout reads the same
    checkpoint and goes on from it. Ends with code 1 when one of them differs.
    """
    from pipeline.errors import UsageError
    from pipeline.preflight.cases import CASES

    fitting = CASES
    if gpu:
        import torch

        devices = torch.cuda.device_count()
        if not devices:
            raise UsageError("--gpu: torch finds no GPU on this machine; without it, the CPU is checked")
        fitting = [case for case in CASES if case.processes <= devices]
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks, here and in the processes
    from pipeline.preflight.run import CaseResult, preflight

    directory = Path(tempfile.mkdtemp(prefix="outbound-preflight-"))
    with progress("preflight", len(fitting), "layouts") as advance:

        def tell(outcome: CaseResult) -> None:
            advance(1)
            console.print(line(outcome), highlight=False, soft_wrap=True)

        outcomes = preflight(fitting, directory, tell)
    failed = [outcome for outcome in outcomes if not outcome.ok]
    left_out = [case.name for case in CASES if case not in fitting]
    result: dict[str, Any] = {
        "device": "gpu" if gpu else "cpu",
        "passed": len(outcomes) - len(failed),
        "failed": len(failed),
        "left_out": left_out,
        "cases": [dataclasses.asdict(outcome) for outcome in outcomes],
    }
    text = f"{result['passed']} of {len(outcomes)} layouts agree"
    if left_out:
        text += f"; {len(left_out)} need more GPUs: {', '.join(left_out)}"
    if failed:
        result["log"] = str(directory / "log.txt")
        text += f"; what the processes said: {result['log']}"
    else:
        shutil.rmtree(directory)
    emit(result, json, text)
    if failed:
        raise typer.Exit(1)


def line(outcome: Any) -> str:
    """One outcome for people."""
    verdict = "[green]ok[/]    " if outcome.ok else "[red]differs[/]"
    numbers = "" if outcome.loss is None else f"  loss {outcome.loss:.0e}, norm {outcome.norm:.0e}"
    return f"{verdict} {outcome.case}{numbers}{'  ' + outcome.reason if outcome.reason else ''}"
