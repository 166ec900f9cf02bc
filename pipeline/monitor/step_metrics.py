"""Metrics of a step over all ranks: computing, waiting for others, waiting for data. Pure.

Ranks exchange integers in one small gather a step; everything here is a function of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from pipeline.checkpoint.run_state import RunState


class RankReport(NamedTuple):
    """Measurements of one rank that all ranks gather after a step."""

    stop: int
    """1 after a stop request, else 0."""
    stage: int
    stream_hash: int
    """Hash of the samples that it has read; a last stage reads them too, and does not count."""
    counted: int
    """Positions of those samples that count in the loss."""
    compute_ns: int
    """Time in forward and backward passes; on the plain engine without the step's last backward pass, which
    waits for other ranks' gradients. 0: unknown."""
    pipeline_ns: int
    """Time from the step's start until the last micro-batch left its stage; 0 without a pipeline."""
    data_wait_ns: int
    """Time without data."""
    memory_bytes: int
    """Peak memory so far."""


def step_row(
    state: RunState,
    *,
    lr: float,
    grad_norm: float,
    batch: int,
    tokens_per_s: float,
    source_counts: Mapping[str, int],
    mfu: float,
    mfu_causal: float,
) -> dict[str, Any]:
    """Return the row of the step that `state` has reached; a skipped step has neither loss nor norm.

    source_counts: samples read so far from each of several sources; empty when there is one.
    """
    taken = not state.skipped_in_a_row
    return {
        "step": state.step,
        "tokens": state.tokens,
        **({"loss": state.loss} if taken else {}),
        "lr": lr,
        **({"grad_norm": grad_norm} if taken else {}),
        "skipped": state.skipped,
        "spikes": state.spikes,
        "batch": batch,
        "tokens_per_s": tokens_per_s,
        "stream_hash": f"{state.stream_hash:016x}",
        **{f"share/{name}": n / sum(source_counts.values()) for name, n in source_counts.items()},
        "mfu": mfu,
        "mfu_causal": mfu_causal,
    }


def reduce_over_ranks(reports: Sequence[RankReport], seconds: float) -> dict[str, float]:
    """Metrics of a step that took so many seconds.

    counted: positions that count in the loss.
    data_wait: the share of the step that the rank which waited longest stood still for want of data.
    memory_gb/K, compute_s/K: of stage K, the rank with most. straggler/K: that compute_s over the mean of
    all ranks; what is above 1 is waited for. bubble/K: the share of the pipeline's time in which stage K's
    busiest rank did not compute; bubble: the mean of the stages. The schedule's own share of it is
    (p - 1) / (m + p - 1) for p stages and m micro-batches.

    >>> common = {"stop": 0, "stream_hash": 1, "counted": 9, "memory_bytes": 5 * 10**9}
    >>> two = [
    ...     RankReport(stage=0, compute_ns=30, pipeline_ns=40, data_wait_ns=2, **common),
    ...     RankReport(stage=1, compute_ns=10, pipeline_ns=50, data_wait_ns=0, **common),
    ... ]
    >>> row = reduce_over_ranks(two, seconds=100e-9)
    >>> row["data_wait"], row["straggler/0"], row["bubble/0"], row["bubble/1"], round(row["bubble"], 6)
    (0.02, 1.5, 0.4, 0.8, 0.6)
    """
    row: dict[str, float] = {
        "counted": counted(reports),
        "data_wait": max(report.data_wait_ns for report in reports) / 1e9 / seconds,
    }
    stages = sorted({report.stage for report in reports})
    mean = fmean(report.compute_ns for report in reports)
    drained = max(report.pipeline_ns for report in reports)
    bubbles = {}
    for stage in stages:
        here = [report for report in reports if report.stage == stage]
        busiest = max(report.compute_ns for report in here)
        row[f"memory_gb/{stage}"] = max(report.memory_bytes for report in here) / 1e9
        if mean:
            row[f"compute_s/{stage}"] = busiest / 1e9
            row[f"straggler/{stage}"] = busiest / mean
        if drained:
            bubbles[f"bubble/{stage}"] = 1 - busiest / drained
    return row | bubbles | ({"bubble": fmean(bubbles.values())} if bubbles else {})


def stream_hash(reports: Sequence[RankReport]) -> int:
    """Combine the hashes of all first stages, which read each sample once."""
    return sum(report.stream_hash for report in reports if report.stage == 0) % 2**64


def counted(reports: Sequence[RankReport]) -> int:
    """Count the positions of a step that count in its loss: each sample stands on one first stage."""
    return sum(report.counted for report in reports if report.stage == 0)


def reported_loss(loss: float, positions: int, counted: int) -> float:
    """Turn an engine's loss, whose divisor is all positions, into the mean over those that count.

    0 where none counts.

    >>> reported_loss(3.0, positions=8, counted=6), reported_loss(0.0, positions=8, counted=0)
    (4.0, 0.0)
    """
    return loss * positions / max(counted, 1)


def format_step(row: dict[str, Any]) -> str:
    """Format a step as one line for the terminal.

    >>> format_step({"step": 3, "loss": 4.25, "tokens_per_s": 1234.5, "mfu": 0.41, "data_wait": 0.003})
    'step 3  loss 4.2500  1,234 tokens/s  MFU 41%  data wait 0.3%'
    """
    parts = [f"step {row['step']}", f"loss {row['loss']:.4f}" if "loss" in row else "skipped, not finite"]
    parts.append(f"{row['tokens_per_s']:,.0f} tokens/s")
    parts += [f"MFU {row['mfu']:.0%}"] if "mfu" in row else []
    parts += [f"bubble {row['bubble']:.0%}"] if "bubble" in row else []
    parts += [f"data wait {row['data_wait']:.1%}"] if "data_wait" in row else []
    return "  ".join(parts)
