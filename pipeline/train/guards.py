"""Decisions about a step that went wrong: its gradient is not finite, or its loss is a spike. Pure.

A spike is a loss far above those just before it; the run goes back to the last checkpoint and skips the data
since then (Chowdhery et al. 2022, PaLM, section 5.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pipeline.checkpoint.run_state import RunState
from pipeline.config.sections import Guards
from pipeline.data.skipped import SkippedRanges


def record_step(state: RunState, loss: float, grad_norm: float, guards: Guards) -> RunState:
    """Note the loss of the step that `state` has reached, or that all ranks skipped it.

    Every engine skips a step whose gradient is not finite. A step in which no position counts has the loss 0,
    which stays out of the recent losses.

    >>> state = record_step(RunState(step=7), math.nan, 1.0, Guards())
    >>> state.skipped, state.skipped_in_a_row
    (1, 1)
    >>> record_step(state, 2.5, 1.0, Guards()).skipped_in_a_row
    0
    """
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        return replace(state, skipped=state.skipped + 1, skipped_in_a_row=state.skipped_in_a_row + 1)
    recent = [*state.recent_losses, *([loss] if loss else [])] if guards.spike_zscore else []
    return replace(state, loss=loss, skipped_in_a_row=0, recent_losses=recent[-guards.spike_window_steps :])


def diverged(state: RunState, guards: Guards) -> bool:
    """Whether too many steps in a row were skipped."""
    return state.skipped_in_a_row >= guards.max_non_finite_steps


def is_spike(loss: float, state: RunState, guards: Guards) -> bool:
    """Whether the loss after the step of `state` lies too far above the last ones.

    >>> state = RunState(recent_losses=[1.0, 2.0])
    >>> is_spike(9.0, state, Guards(spike_zscore=3, spike_window_steps=2)), is_spike(9.0, state, Guards())
    (True, False)
    """
    full = len(state.recent_losses) == guards.spike_window_steps
    return bool(guards.spike_zscore and full and z_score(loss, state.recent_losses) > guards.spike_zscore)


def z_score(loss: float, recent_losses: Sequence[float]) -> float:
    """How many standard deviations a loss lies above the mean of the recent ones.

    >>> z_score(3.0, [1.0, 2.0, 1.0, 2.0])
    3.0
    """
    mean = math.fsum(recent_losses) / len(recent_losses)
    variance = math.fsum((recent - mean) ** 2 for recent in recent_losses) / len(recent_losses)
    return (loss - mean) / max(math.sqrt(variance), 1e-12)


def roll_back(checkpoint: RunState, state: RunState, skipped_ranges: SkippedRanges) -> RunState:
    """Return the checkpoint's state without the samples that led to a spike.

    What this attempt brought stays: its number, configuration, processes, stages and resumes.
    """
    return replace(
        checkpoint,
        attempt=state.attempt,
        config=state.config,
        resumes=state.resumes,
        processes=state.processes,
        stages=state.stages,
        skipped_ranges=[list(skipped) for skipped in skipped_ranges.ranges],
        spikes=state.spikes + 1,
    )
