"""`outbound eval` of fine-tuned models: the scores on their own test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.cli.app import emit


def evaluate_tuned(where: Path, seeds: list[Path], data: Path | None, json: bool) -> None:
    """Score the model of each seed on `finetune.test`, or on another file like it, and print that."""
    from pipeline.finetune.scoring import renew_results, score

    results: list[dict[str, Any]] = [score(seed, data) for seed in seeds]
    if data is None and seeds != [where]:
        renew_results(where)
    lines = [
        f"{found['model']}: {_text(found['scores'])} ({found['examples']:,} examples)" for found in results
    ]
    if len(results) > 1:
        names = results[0]["scores"]
        means = {name: sum(found["scores"][name] for found in results) / len(results) for name in names}
        lines.append(f"mean of {len(results)} seeds: {_text(means)}")
    emit({"dir": str(where), "seeds": results}, json, "\n".join(lines))


def _text(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {score:.4f}" for name, score in scores.items())
