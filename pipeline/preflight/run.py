"""Starts the processes of the parity suite and compares what they took with the reference."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch

from pipeline.checkpoint.format import Checkpoint
from pipeline.distributed.launch import launch
from pipeline.errors import RunError, UsageError
from pipeline.preflight.cases import CASES, REFERENCES, SAVED_AFTER, Case, CaseNumbers, Steps
from pipeline.preflight.plain import plain_torch

PLAIN = "plain torch"
RANK = "pipeline.preflight.rank"


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """Result of one case: its largest differences from the reference, or why it has none."""

    case: str
    ok: bool
    loss: float | None = None
    norm: float | None = None
    """Relative."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All outcomes, the names of the cases that need more GPUs, and the log if a case failed."""

    outcomes: list[CaseResult]
    left_out: list[str]
    log: Path | None

    @property
    def failed(self) -> list[CaseResult]:
        """The cases that differ from their reference."""
        return [outcome for outcome in self.outcomes if not outcome.ok]


def report(cases: list[Case], tick: Callable[[CaseResult], None]) -> Report:
    """Run cases within a directory of their own, which stays for its log if one of them fails."""
    directory = Path(tempfile.mkdtemp(prefix="outbound-preflight-"))
    outcomes = preflight(cases, directory, tick)
    whole = all(outcome.ok for outcome in outcomes)
    if whole:
        shutil.rmtree(directory)
    left_out = [case.name for case in CASES if case not in cases]
    return Report(outcomes=outcomes, left_out=left_out, log=None if whole else directory / "log.txt")


def preflight(
    cases: Iterable[Case], directory: Path, tick: Callable[[CaseResult], None], worker: str = RANK
) -> list[CaseResult]:
    """Run cases, in order of their processes, within a directory of their own; `tick` gets each result.

    A case that ends its processes fails with their message, and the ones after it run in new processes.
    """
    outcomes = []
    for processes, group in groupby(cases, lambda case: case.processes):
        waiting = list(group)
        while waiting:
            reason = ""
            try:
                launch([str(directory), *(case.name for case in waiting)], processes, worker)
            except (RunError, UsageError) as error:
                reason = str(error)
            numbers = read(directory)
            done = [case for case in waiting if case.name in numbers]
            found = [compare(case, numbers, directory) for case in done]
            waiting = waiting[len(done) :]
            if waiting:
                found.append(CaseResult(case=waiting.pop(0).name, ok=False, reason=reason or "no numbers"))
            for outcome in found:
                tick(outcome)
            outcomes += found
    return outcomes


def compare(case: Case, numbers: dict[str, CaseNumbers], directory: Path) -> CaseResult:
    """Compare a case with plain torch, or with one process in its number format."""
    mine, reference = numbers[case.name], numbers.get(REFERENCES[case.precision].name)
    if case.beside_plain_torch:
        reference = CaseNumbers(*plain_torch(case.config(directory).optimizer), [])
    if reference is None:
        return CaseResult(case=case.name, ok=False, reason="nothing to compare with: one process failed")
    wanted = reference.steps + reference.steps[SAVED_AFTER:]
    loss, norm = differences(mine.steps + mine.resumed, wanted)
    loss = max(loss, abs(mine.held_out - reference.held_out))
    within = case.tolerance
    reasons = []
    if not loss <= within.loss:
        reasons.append(f"the loss may differ by {within.loss:g}")
    if not norm <= within.norm:
        reasons.append(f"the gradient's norm may differ by {within.norm:g} of itself")
    reasons += wrong_checkpoint(case, directory)
    return CaseResult(case=case.name, ok=not reasons, loss=loss, norm=norm, reason="; ".join(reasons))


def differences(mine: Steps, wanted: Steps) -> tuple[float, float]:
    """The largest difference of the losses, and of the norms relative to the wanted; NaN if there is one."""
    pairs = list(zip(mine, wanted, strict=True))
    losses = [abs(ours - theirs) for (ours, _), (theirs, _) in pairs]
    norms = [abs(ours / theirs - 1) for (_, ours), (_, theirs) in pairs]
    return (math.nan if math.isnan(sum(losses)) else max(losses)), (
        math.nan if math.isnan(sum(norms)) else max(norms)
    )


def wrong_checkpoint(case: Case, directory: Path) -> list[str]:
    """Compare what a layout saved, and what it saved again after loading, with the reference's checkpoint."""
    step = Path("checkpoints") / f"step-{SAVED_AFTER:08d}"
    canonical = Checkpoint.open(directory / REFERENCES[case.precision].name / step)
    own = Checkpoint.open(directory / case.name / step)
    again = Checkpoint.open(directory / f"{case.name} again" / step)
    names = [name for name in canonical.tensors if not name.startswith("rng/")]
    found = []
    for checkpoint in (own, again):
        if missing := [name for name in names if name not in checkpoint.tensors]:
            found.append(f"{checkpoint.path} lacks {missing[0]}")
    if found:
        return found
    for name in names:
        theirs = canonical.tensor(name)
        if not torch.equal(theirs, again.tensor(name)):
            found.append(f"{name} is not what was loaded")
        # In bf16 each step rounds otherwise; what is loaded is exact all the same.
        if case.precision == "fp32" and not torch.allclose(own.tensor(name), theirs, rtol=1e-3, atol=1e-6):
            found.append(f"{name} is not as one process saves it")
    return found


def read(directory: Path) -> dict[str, CaseNumbers]:
    """What the processes have noted so far, by case."""
    path = directory / "numbers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {row.pop("case"): CaseNumbers(**row) for row in rows}
