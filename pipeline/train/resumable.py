"""What a configuration may change in a run that it continues: decided before a job waits, and again by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.checkpoint.format import first_whole, newest
from pipeline.checkpoint.run_state import RunState
from pipeline.config import RunConfig
from pipeline.data.sources import Sources
from pipeline.errors import RunError, UsageError

PINNED = (
    "run.seed",
    "data.order_block_sequences",
    "data.generation",
    "the content of data.tokens",
    "the tokenizer",
)
"""What a run keeps to its end, besides its model."""


def unresumable(config: RunConfig, sources: Sources, processes: int) -> list[str]:
    """List why a configuration cannot continue the run in its directory; nothing when none has begun there.

    No tensor is read. Raises RunError when no checkpoint is readable, or an earlier version of outbound
    trained here.
    """
    refuse_earlier_layout(config.run.dir)
    checkpoint = first_whole(list(newest(config.run.dir)), share=lambda names: [])
    return _refusals(config, checkpoint.state, sources, processes) if checkpoint is not None else []


def refuse_earlier_layout(run: Path) -> None:
    """Raise RunError when an earlier version of outbound trained here."""
    if (run / "checkpoints").is_dir():
        raise RunError(
            f"{run / 'checkpoints'}: an earlier version of outbound trained here, and this one does not "
            "read its layout: choose another run.dir"
        )


def config_changes(config: RunConfig, then: RunState, sources: Sources, processes: int) -> list[str]:
    """List what a configuration changes in a run that it continues: "optimizer.lr: was 0.002, is 0.5".

    Raises UsageError with the changes that would make it another run.
    """
    if refused := _refusals(config, then, sources, processes):
        raise UsageError("; ".join(refused))
    return list(_changes(config, then, sources).values())


def _refusals(config: RunConfig, then: RunState, sources: Sources, processes: int) -> list[str]:
    refused = [
        f"{change}: a run does not change it once it has begun: use the config.yaml of its last attempt, or "
        "another run.dir"
        for name, change in _changes(config, then, sources).items()
        if name.startswith("model.") or name in PINNED
    ]
    ranks, were = processes // config.parallel.pipeline_stages, then.processes // then.stages
    if config.data.stream and ranks != were:
        refused.append(
            f"data.stream: {were} data-parallel ranks have shared out its shards, and {ranks} would read "
            f"another order: go on with {were}"
        )
    return refused


def _changes(config: RunConfig, then: RunState, sources: Sources) -> dict[str, str]:
    was = {
        **_flat(then.config),
        "the content of data.tokens": then.sources_fingerprint,
        "the tokenizer": then.tokenizer_fingerprint,
    }
    now = {
        **_flat(config.model_dump(mode="json")),
        "the content of data.tokens": sources.fingerprint,
        "the tokenizer": sources.tokenizer_fingerprint,
    }
    return {
        name: f"{name}: was {was.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in {**was, **now}
        if was.get(name) != now.get(name)
    }


def _flat(section: dict[str, Any], path: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 1}} -> {"optimizer.lr": 1}."""
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= _flat(value, f"{path}{name}.") if isinstance(value, dict) else {f"{path}{name}": value}
    return flat
