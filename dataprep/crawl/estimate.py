"""How long a crawl will take, which sites will end last, and what a time budget will leave.

A site is asked for one page after the other, so its links decide how long it takes. How many sites are asked
at once is bounded twice: by the partitions that are open, and by the lines of work that these share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

ANSWER_S = 0.5
"""Time from a request to the end of its answer, as long as nothing was measured."""
OWN_FILES = 2
"""Requests to a site beside its pages: robots.txt and tdmrep.json."""
SHOWN = 3
"""Sites that are named, those that end last."""

Seconds = npt.NDArray[np.float64]
Sizes = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class LastSite:
    """A site that ends late: its links, and when it ends, in seconds from now. place: among all sites."""

    place: int
    links: int
    ends_s: float
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is expected of a crawl.

    links, sites: those that are left. partitions: how many are crawled at once. delay_s, answer_s: of each
    request, as assumed or measured. seconds: until the last site ends. last: the sites that end last.
    hours: the budget, None for none; late_links, late_sites: what it leaves.
    """

    links: int
    sites: int
    partitions: int
    delay_s: float
    answer_s: float
    seconds: float
    last: tuple[LastSite, ...] = ()
    hours: float | None = None
    late_links: int = 0
    late_sites: int = 0


def estimate(
    groups: Sequence[Sequence[int] | Sizes],
    *,
    partitions: int,
    lines: int,
    delay_s: float,
    answer_s: float = ANSWER_S,
    hours: float | None = None,
) -> Estimate:
    """What is expected of a crawl of groups of sites, each given as the numbers of their links.

    groups: partitions in their order; those that follow each other for one site are one group.

    >>> found = estimate([[100], [10, 10], [5]], partitions=2, lines=8, delay_s=1, hours=15.5 / 3600)
    >>> found.seconds, [(site.place, site.ends_s) for site in found.last]
    (153.0, [(0, 153.0), (1, 28.5), (2, 28.5)])
    >>> found.late_links, found.late_sites  # of the first site 92, of the others of ten links 9 each
    (110, 3)
    """
    each = delay_s + answer_s
    links = np.concatenate([np.empty(0, np.int64), *groups]).astype(np.int64)
    begun = begins(groups, partitions, lines, each)
    ends = begun + (links + OWN_FILES) * each
    late = np.argsort(-ends, kind="stable")[:SHOWN].tolist()
    left = np.zeros_like(links) if hours is None else left_by(hours, links, begun, each)
    return Estimate(
        links=int(links.sum()),
        sites=len(links),
        partitions=partitions,
        delay_s=delay_s,
        answer_s=answer_s,
        seconds=float(ends.max(initial=0)),
        last=tuple(LastSite(place=at, links=int(links[at]), ends_s=float(ends[at])) for at in late),
        hours=hours,
        late_links=int(left.sum()),
        late_sites=int((left > 0).sum()),
    )


def begins(groups: Sequence[Sequence[int] | Sizes], partitions: int, lines: int, each_s: float) -> Seconds:
    """(sites,) when each site begins, in seconds.

    groups: as in `estimate`. `from_the_end` decides which is opened next. The lines go round among those that
    are open.
    """
    first = np.cumsum([0, *map(len, groups)])
    begun = np.zeros(first[-1])
    closed = deque(range(len(groups)))
    lanes, opened = deque(range(partitions)), dict[int, _Open]()
    ready, ends, now = deque[int](), list[tuple[float, int]](), 0.0
    while True:
        while lanes and closed:
            group = closed.pop() if from_the_end(lanes[0]) else closed.popleft()
            if len(groups[group]):
                opened[group] = _Open(lanes.popleft(), [int(links) for links in groups[group]])
                ready.append(group)
        while ready and len(ends) < lines:
            group = ready.popleft()
            its = opened[group]
            begun[first[group] + its.taken] = now
            heappush(ends, (now + (its.links[its.taken] + OWN_FILES) * each_s, group))
            its.taken += 1
            if its.taken < len(its.links):
                ready.append(group)
        if not ends:
            return begun
        now, group = heappop(ends)
        opened[group].ended += 1
        if opened[group].ended == len(opened[group].links):
            lanes.append(opened.pop(group).lane)


@dataclass(slots=True)
class _Open:
    """A group that is open: its lane, the links of its sites, how many of these have begun and ended."""

    lane: int
    links: list[int]
    taken: int = 0
    ended: int = 0


def left_by(hours: float, links: Sizes, begun: Seconds, each_s: float) -> npt.NDArray[np.int64]:
    """(sites,) the links of each site that have not been asked for by then."""
    asked = np.clip((hours * 3600 - begun) / each_s - OWN_FILES, 0, links)
    return links.astype(np.int64) - asked.astype(np.int64)


def from_the_end(lane: int) -> bool:
    """Whether a lane takes the last partition that is left, else the first.

    The first have the longest sites, and begin at once, since they decide when the crawl ends. Every second
    lane works from the other end, so that a budget is not used up by the longest sites alone.

    >>> [from_the_end(lane) for lane in range(4)]
    [False, True, False, True]
    """
    return lane % 2 == 1


def words(expected: Estimate) -> str:
    """An estimate in words.

    >>> print(words(Estimate(links=400_000, sites=900, partitions=8, delay_s=1.0, answer_s=0.5, seconds=3e5,
    ...     last=(LastSite(place=0, links=200_000, ends_s=3e5, name="a.test"),),
    ...     hours=24.0, late_links=120_000, late_sites=2)))
    400,000 links of 900 sites, 8 partitions at once, 1.5 s a link: about 3.5 days
    ends last: a.test (200,000 links, 3.5 days)
    24 hours leave 120,000 links (30.0 %) of 2 sites for later
    """
    pace = f"{expected.delay_s + expected.answer_s:.1f} s a link"
    lines = [
        f"{expected.links:,} links of {expected.sites:,} sites, {expected.partitions} partitions at once, "
        f"{pace}: about {span(expected.seconds)}"
    ]
    if named := [site for site in expected.last if site.name]:
        lines.append("ends last: " + ", ".join(map(_site, named)))
    if expected.hours is not None and expected.links:
        share = 100 * expected.late_links / expected.links
        what = f"{expected.late_links:,} links ({share:.1f} %) of {expected.late_sites:,} sites"
        lines.append(f"{expected.hours:.3g} hours leave {what} for later")
    return "\n".join(lines)


def span(seconds: float) -> str:
    """A time in its largest fitting unit.

    >>> span(59), span(5400), span(86400 * 26.8)
    ('59 s', '1.5 hours', '26.8 days')
    """
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _site(site: LastSite) -> str:
    return f"{site.name} ({site.links:,} links, {span(site.ends_s)})"
