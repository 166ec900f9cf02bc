"""What the demo promises, checked on what it left behind: requests, losses, and their seam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.demo.sites import FORBIDDEN, Sites
from pipeline.demo.web import Request

NEIGHBOURS = 20  # steps on either side of the seam that say how much the loss jumps from step to step anyway


@dataclass(frozen=True)
class Seam:
    """Where a stopped run went on: the step, and the losses just before and just after."""

    step: int
    before: float
    after: float
    usual_jump: float

    @property
    def shows(self) -> bool:
        """Whether the curve jumps here by more than twice what it jumps elsewhere."""
        return abs(self.after - self.before) > 2 * self.usual_jump


def broken_by_crawl(requests: Sequence[Sequence[Request]], sites: Sites) -> list[str]:
    """What is wrong with the requests that the web saw, one sequence an increment."""
    broken = []
    if forbidden := [r for month in requests for r in month if r.path == FORBIDDEN]:
        broken.append(f"robots.txt forbids {forbidden[0].url}, and it was fetched {len(forbidden)} times")
    first, second = ({r.url for r in month if r.status == 200} for month in requests)
    robots = {f"http://{host}/robots.txt" for host, _ in sites.answers}
    # A link of the second month may lead to a page that the first month had: no crawler can know before.
    targets = {a.location if "://" in a.location else f"http://{host}{a.location}"
               for (host, _), a in sites.answers.items() if a.location}  # fmt: skip
    if again := sorted((first & second) - robots - targets):
        broken.append(
            f"the second increment fetched {len(again)} pages of the first again, such as {again[0]}"
        )
    return broken


def broken_by_training(val_loss: float | None, unigram_entropy: float, seam: Seam | None) -> list[str]:
    """What is wrong with a run's losses, all in nats a token."""
    broken = []
    if val_loss is None or not val_loss < unigram_entropy:
        broken.append(f"validation loss {val_loss} is not under the unigram entropy {unigram_entropy:.4f}")
    if seam is None:
        broken.append("the run was not stopped and resumed")
    elif seam.shows:
        broken.append(f"the loss jumps where the run was resumed: {seam.before:.4f} to {seam.after:.4f}")
    return broken


def find_seam(losses: Mapping[int, float], resumes: Sequence[int]) -> Seam | None:
    """The first place where a run was resumed.

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
            return Seam(step, losses[step], losses[step + 1], max(jumps, default=0.0))
    return None
