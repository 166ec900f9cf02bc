"""Checks of what the demo left behind: the crawl's requests and the run's losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.demo.sites import FORBIDDEN, Sites
from pipeline.demo.web import Request

NEIGHBOURS = 20
"""Steps on either side of a resume point that show how much the loss changes from step to step anyway."""


@dataclass(frozen=True)
class ResumePoint:
    """Where a stopped run resumed: the step, and the losses just before and just after."""

    step: int
    before: float
    after: float
    usual_jump: float

    @property
    def is_visible(self) -> bool:
        """Whether the loss jumps here by more than twice what it jumps elsewhere."""
        return abs(self.after - self.before) > 2 * self.usual_jump


def check_crawl(requests: Sequence[Sequence[Request]], sites: Sites) -> list[str]:
    """Return what is wrong with the requests that the web saw, one sequence an increment."""
    failures = []
    if forbidden := [r for month in requests for r in month if r.path == FORBIDDEN]:
        failures.append(f"robots.txt forbids {forbidden[0].url}, and it was fetched {len(forbidden)} times")
    first, second = ({r.url for r in month if r.status == 200} for month in requests)
    robots = {f"http://{host}/robots.txt" for host, _ in sites.answers}
    # A link of the second month may lead to a page that the first month had: no crawler can know before.
    targets = {a.location if "://" in a.location else f"http://{host}{a.location}"
               for (host, _), a in sites.answers.items() if a.location}  # fmt: skip
    if again := sorted((first & second) - robots - targets):
        failures.append(
            f"the second increment fetched {len(again)} pages of the first again, such as {again[0]}"
        )
    return failures


def check_training(val_loss: float | None, unigram_entropy: float, resumed: ResumePoint | None) -> list[str]:
    """Return what is wrong with a run's losses, all in nats a token."""
    failures = []
    if val_loss is None or not val_loss < unigram_entropy:
        failures.append(f"validation loss {val_loss} is not under the unigram entropy {unigram_entropy:.4f}")
    if resumed is None:
        failures.append("the run was not stopped and resumed")
    elif resumed.is_visible:
        failures.append(
            f"the loss jumps where the run was resumed: {resumed.before:.4f} to {resumed.after:.4f}"
        )
    return failures


def find_resume_point(losses: Mapping[int, float], resumes: Sequence[int]) -> ResumePoint | None:
    """Return the first step after which a run was resumed.

    losses: by step. resumes: the steps after which the run was resumed.
    """
    for step in resumes:
        if step in losses and step + 1 in losses:
            around = range(step - NEIGHBOURS, step + NEIGHBOURS + 1)
            jumps = [
                abs(losses[s + 1] - losses[s])
                for s in around
                if s != step and s in losses and s + 1 in losses
            ]
            return ResumePoint(step, losses[step], losses[step + 1], max(jumps, default=0.0))
    return None
