"""What lost nodes cost a run, by how often it saves a checkpoint. Pure.

Nodes are lost at random moments, also while a job starts again. A loss undoes the steps since the last
checkpoint: half an interval on average, while losses are rare. Formulas: J. T. Daly, "A higher order estimate
of the optimum checkpoint interval for restart dumps", Future Generation Computer Systems 22 (2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, expm1, sqrt

from pipeline.config import RunConfig
from pipeline.costs.layers import parameters
from pipeline.plan.predict import Cluster, Prediction

NOTICE_S = 300.0
"""Time after which Slurm gives a silent node up: SlurmdTimeout, by default."""
REQUEUE_S = 121.0
"""Time for which Slurm holds a job back that was queued again, by default; measured."""
START_S = 180.0
"""From the start of a job to its next step: checks of the nodes, imports, the checkpoint. An assumption."""
STORAGE_BYTES_S = 1e9
"""Bytes of a checkpoint that each node writes in a second. An assumption."""
STATE_BYTES = 12
"""Bytes of a parameter in a checkpoint: fp32 weight and two moments."""
SHOWN_S = (600, 1200, 1800, 3600)
"""Intervals between checkpoints that a plan shows, besides the best one and that of the configuration."""


@dataclass(frozen=True, kw_only=True)
class Failures:
    """How often a run loses a node, and what each loss and each checkpoint takes."""

    apart_s: float
    """Mean time between two losses of any of its nodes."""
    restart_s: float
    """From a loss to the next step."""
    save_s: float
    """How long the steps wait for a checkpoint."""

    @staticmethod
    def of(
        config: RunConfig,
        cluster: Cluster,
        *,
        an_hour: float,
        restart_s: float | None,
        storage_bytes_s: float | None,
    ) -> Failures:
        """The failures of a run on a cluster; None: Slurm's defaults, and STORAGE_BYTES_S of each node."""
        rate = storage_bytes_s or cluster.nodes * STORAGE_BYTES_S
        return Failures(
            apart_s=3600 / an_hour,
            restart_s=NOTICE_S + REQUEUE_S + START_S if restart_s is None else restart_s,
            save_s=checkpoint_bytes(config) / rate,
        )

    def useful(self, interval_s: float) -> float:
        """Share of the time that brings the run forward, at so many seconds of steps between checkpoints.

        >>> round(Failures(apart_s=3600, restart_s=600, save_s=20).useful(1200), 3)
        0.699
        """
        exponent = (interval_s + self.save_s) / self.apart_s
        if exponent > 700:  # e to this power is no float
            return 0.0
        return interval_s / (self.apart_s * exp(self.restart_s / self.apart_s) * expm1(exponent))

    @property
    def best_interval_s(self) -> float:
        """The interval at which the most time is useful: Young's sqrt(2 save_s apart_s), refined by Daly.

        >>> round(Failures(apart_s=3600, restart_s=600, save_s=20).best_interval_s)
        366
        """
        ratio = self.save_s / (2 * self.apart_s)
        if ratio >= 1:
            return self.apart_s
        young = sqrt(2 * self.save_s * self.apart_s)
        return young * (1 + sqrt(ratio) / 3 + ratio / 9) - self.save_s

    def in_vain(self, interval_s: float) -> float:
        """Probability that a start is lost before its first checkpoint."""
        return -expm1(-(interval_s + self.save_s) / self.apart_s)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What one interval between checkpoints means for a run."""

    checkpoint_every_steps: int
    interval_s: float
    lost: float
    """Share of the time that brings the run no further."""
    in_vain: float
    """Share of the starts that are lost before their first checkpoint."""
    seconds: float
    """Time of the whole run."""


def checkpoint_bytes(config: RunConfig) -> int:
    """Bytes of a checkpoint of a run."""
    return STATE_BYTES * parameters(config.model)


def intervals(config: RunConfig, found: Prediction, failures: Failures) -> list[Interval]:
    """SHOWN_S, the best interval and that of the configuration, in whole steps; the shortest first."""
    step_s = found.step.total
    wanted = {max(1, round(seconds / step_s)) for seconds in (*SHOWN_S, failures.best_interval_s)}
    return [
        Interval(
            checkpoint_every_steps=steps,
            interval_s=steps * step_s,
            lost=1 - failures.useful(steps * step_s),
            in_vain=failures.in_vain(steps * step_s),
            seconds=found.seconds / failures.useful(steps * step_s),
        )
        for steps in sorted({*wanted, config.train.checkpoint_every_steps})
        if failures.useful(steps * step_s)
    ]
