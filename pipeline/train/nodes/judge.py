"""Which nodes are bad, from what each rank has found. Pure.

A node is held against the others. From few nodes no median follows: those are only described.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

FEWEST = 3
"""Nodes that a median needs."""
CLOCK_S = 2.0
"""How far a clock may be from the median: W&B, and people, order what nodes write by time."""
PRODUCTS = 0.8
LINK = 0.5
"""The least share of the median speed."""
TEMPORARY_BYTES = 100_000_000
"""What compiled extensions and their caches may need of a node's own disk."""

Verdict = tuple[str, str]
"""A bad node and the reason."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one rank has found out about its node without the others."""

    node: str
    device: str
    """Name of the GPU, or "cpu"."""
    same: dict[str, str]
    """What must be equal on all nodes: versions and hashes by name."""
    sees_run: bool
    """Whether the attempt that the first rank has made is there."""
    run_free_bytes: int
    temporary_free_bytes: int
    """Free in TMPDIR."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one rank has measured."""

    flops: float
    """Operations a second of large products."""
    link: float | None
    """Bytes a second, each way at once, to the better reached of two neighbouring nodes; the first rank of a
    node measures it, for others it is None."""


def unlike(facts: Sequence[Facts], offsets_s: Sequence[float]) -> Iterator[Verdict]:
    """Find the nodes that differ from most others, lack room, or do not see the run's directory.

    offsets_s: how far each rank's clock is from the median.
    """
    judged = len({fact.node for fact in facts}) >= FEWEST
    for name in facts[0].same:
        [(usual, _)] = Counter(fact.same.get(name) for fact in facts).most_common(1)  # of a tie, the first
        for fact in facts:
            if (value := fact.same.get(name)) != usual:
                yield fact.node, f"{name} is {value}, elsewhere {usual}"
    for fact, offset in zip(facts, offsets_s, strict=True):
        if not fact.sees_run:
            yield fact.node, "it does not see what the first rank has written to run.dir: is that mounted?"
        if fact.temporary_free_bytes < TEMPORARY_BYTES:
            yield fact.node, f"{fact.temporary_free_bytes / 1e6:.0f} MB are free in its TMPDIR"
        if judged and abs(offset) > CLOCK_S:
            yield fact.node, f"its clock is {abs(offset):.1f} s {'fast' if offset > 0 else 'slow'}"


def slow(nodes: Sequence[str], speeds: Sequence[Speed]) -> Iterator[Verdict]:
    """Find the nodes whose products or links are far slower than the median. nodes: of each rank."""
    if len(set(nodes)) < FEWEST:
        return
    usual = median(speed.flops for speed in speeds)
    links = [speed.link for speed in speeds if speed.link is not None]
    usual_link = median(links) if links else 0.0
    for rank, (node, speed) in enumerate(zip(nodes, speeds, strict=True)):
        if speed.flops < PRODUCTS * usual:
            multiplies = f"rank {rank} multiplies at {speed.flops / 1e12:.3g} TFLOP/s"
            yield node, f"{multiplies}, the median is {usual / 1e12:.3g}"
        if speed.link is not None and speed.link < LINK * usual_link:
            reaches = f"it reaches its neighbours at {speed.link / 1e9:.2g} GB/s"
            yield node, f"{reaches}, the median is {usual_link / 1e9:.2g}"


def reasons(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Collect the reasons of each bad node.

    >>> reasons([("a", "slow"), ("b", "full"), ("a", "full"), ("a", "slow")])
    {'a': 'slow, full', 'b': 'full'}
    """
    found: dict[str, dict[str, None]] = {}
    for node, reason in verdicts:
        found.setdefault(node, {})[reason] = None
    return {node: ", ".join(of_node) for node, of_node in found.items()}


def clock_offsets(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Seconds by which each rank's clock is ahead of the median.

    rounds: Unix times that the ranks read at about the same moment. Of several rounds the least offset
    counts, since a rank that waits for a core reads late.

    >>> clock_offsets([[10.0, 10.5, 14.0], [20.0, 20.0, 24.0]])
    [0.0, 0.0, 3.5]
    """
    away = [[read - median(times) for read in times] for times in rounds]
    return [min(offsets, key=abs) for offsets in zip(*away, strict=True)]


def ring(count: int) -> list[list[tuple[int, int]]]:
    """Pair neighbours in a ring, in rounds in which each meets one other at most.

    >>> ring(4), ring(3), ring(2)
    ([[(0, 1), (2, 3)], [(1, 2), (3, 0)]], [[(0, 1)], [(1, 2)], [(2, 0)]], [[(0, 1)]])
    """
    if count < 3:
        return [[(0, 1)]] if count == 2 else []
    pairs = [(place, (place + 1) % count) for place in range(count)]
    even = count - count % 2
    return [pairs[0:even:2], pairs[1:even:2], *([pairs[even:]] if count % 2 else [])]
