"""`outbound demo`: the whole way, offline, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, app, console, emit

if TYPE_CHECKING:
    from pipeline.demo.run import DemoResult


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="Where everything goes.")] = Path("demo"),
    small: Annotated[bool, typer.Option("--small", help="Fewer pages and a smaller model.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the demo in DIRECTORY and begin anew.")
    ] = False,
    json: Json = False,
) -> None:
    """Go the whole way, from links to a GPT, offline and on this machine.

    Run again to go on where it stopped. Exits 1 when a promise does not hold.
    """
    from pipeline.demo.run import demo as run
    from pipeline.errors import RunError

    outcome = run(directory, small, fresh, console)
    emit(_result(outcome), json, _text(outcome))
    if outcome.failures:
        raise RunError("checks of the demo failed: " + "; ".join(outcome.failures))


def _result(outcome: DemoResult) -> dict[str, Any]:
    resumed = outcome.resume_point
    return {
        "funnel": [vars(count) for count in outcome.funnel],
        "val_loss": outcome.val_loss,
        "unigram_entropy_nats": outcome.unigram_entropy,
        "resume_point": resumed and {"step": resumed.step, "before": resumed.before, "after": resumed.after},
        "sample": {"prompt": outcome.sample.prompt, "text": outcome.sample.text},
        "scores": {f"{score.task}/{score.measure}": score.value for score in outcome.scores},
        "seconds": round(outcome.seconds, 1),
        "paths": {what: str(path) for what, path in outcome.paths.named()},
        "failures": list(outcome.failures),
    }


def _text(outcome: DemoResult) -> str:
    lines = [f"\nDone in {outcome.seconds:.0f} s.\n"]
    for count in outcome.funnel:
        lost = ", ".join(f"{number:,} {reason}" for reason, number in count.reasons.items()) or "nothing"
        lines.append(f"{count.stage:>8}  {count.entered:>6,} -> {count.passed:>6,} {count.unit}; lost {lost}")
    val_loss = "none" if outcome.val_loss is None else f"{outcome.val_loss:.4f}"
    lines.append(
        f"\nValidation loss   {val_loss} nats a token; unigram entropy {outcome.unigram_entropy:.4f}"
    )
    for score in outcome.scores:
        if score.main:
            name = "Pages held out" if score.task == "held_out" else "Last words"
            between = f"95 % {score.low:.4f} to {score.high:.4f}"
            lines.append(f"{name:<18}{score.value:.4f} {score.measure}; {between}; {score.n:,} documents")
    if resumed := outcome.resume_point:
        lines.append(
            f"Resumed           step {resumed.step}: {resumed.before:.4f}, stopped, resumed, "
            f"step {resumed.step + 1}: {resumed.after:.4f}; steps near it change the loss by up to "
            f"{resumed.usual_jump:.4f}"
        )
    lines.append("")
    lines += [f"{what:<26} {path}" for what, path in outcome.paths.named()]
    return "\n".join(lines)
