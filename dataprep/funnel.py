"""The funnel of a corpus: what entered each stage, what passed, and the reason for every loss."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StageCount:
    """Counts of one stage over all increments; `entered == passed + sum(reasons.values())`."""

    stage: str
    unit: str
    entered: int
    passed: int
    reasons: dict[str, int] = field(default_factory=dict)
