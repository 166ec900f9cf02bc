"""How long a crawl takes, and what a budget leaves, by partitions that are open and lines of work: simulated.

    python -m benchmarks.crawl.simulate domains.txt

The file has a line `LINKS NAME` for each site, as GPT-2's domains.txt (github.com/openai/gpt-2) has for the
1,000 most frequent domains of WebText. Smaller sites are added until there are `--links` links; their sizes
follow a power law. Plan and estimate are the crawler's own, so nothing is asked and nothing is measured.
"""

from __future__ import annotations

import argparse
import random
import re
from itertools import count
from pathlib import Path

import numpy as np

from dataprep.crawl import estimate
from dataprep.crawl.partitioning import PART_LINKS, pack

EXPONENT = 1.1
"""A site of rank r, of those that are added, has links in proportion to r ** -EXPONENT."""
BUDGETS_H = (24.0, 72.0, 168.0)
BY_HASH, LONGEST_FIRST, OURS = "by hash", "longest first", "**ours**"
"""Whole sites in no order; the order of a plan; the same, with every second lane from its end."""


def main() -> None:
    """Run the chosen benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("domains", type=Path)
    parser.add_argument("--links", type=int, default=45_000_000)
    parser.add_argument("--open", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--lines", type=int, nargs="+", default=[64, 256], help="--concurrency of the crawl")
    parser.add_argument("--delay", type=float, default=1.0)
    chosen = parser.parse_args()
    sizes = with_tail(sizes_of(chosen.domains), chosen.links)
    print(f"{sum(sizes):,} links of {len(sizes):,} sites\n")
    budgets = " | ".join(f"left by {hours:g} h" for hours in BUDGETS_H)
    print(f"| order | lines | open | days | {budgets} |\n|---|---|---|---|{'---|' * len(BUDGETS_H)}")
    ours = estimate.from_the_end
    for order in (BY_HASH, LONGEST_FIRST, OURS):
        groups = hashed(sizes) if order == BY_HASH else longest_first(sizes)
        estimate.from_the_end = ours if order == OURS else lambda lane: False
        for lines in chosen.lines:
            for at_once in chosen.open:
                print(row(order, groups, at_once, lines, chosen.delay), flush=True)


def row(order: str, groups: list[list[int]], at_once: int, lines: int, delay_s: float) -> str:
    """A row of the table."""
    each_s = delay_s + estimate.ANSWER_S
    links = np.concatenate([np.array(group) for group in groups])
    begun = estimate.begins(groups, at_once, lines, each_s)
    days = float((begun + (links + estimate.OWN_FILES) * each_s).max()) / 86400
    left = [estimate.left_by(hours, links, begun, each_s).sum() / links.sum() for hours in BUDGETS_H]
    shares = " | ".join(f"{100 * part:.1f} %" for part in left)
    return f"| {order} | {lines} | {at_once} | {days:.1f} | {shares} |"


def sizes_of(domains: Path) -> list[int]:
    """The links of each site of a file."""
    return [int(number) for number in re.findall(r"^\d+", domains.read_text(), re.MULTILINE)]


def with_tail(sizes: list[int], links: int) -> list[int]:
    """The sizes, and as many more by a power law as make up the links; the largest first."""
    tail, left, last = list[int](), links - sum(sizes), min(sizes)
    for rank in count(len(sizes) + 1):
        if left <= 0:
            return sorted([*sizes, *tail], reverse=True)
        tail.append(min(left, max(1, int(last * (len(sizes) / rank) ** EXPONENT))))
        left -= tail[-1]
    raise AssertionError


def longest_first(sizes: list[int]) -> list[list[int]]:
    """The groups of a plan."""
    groups: dict[int, list[int]] = {}
    first, _ = pack(sizes, sizes, PART_LINKS)
    for site, part in zip(sizes, first, strict=True):
        groups.setdefault(part, []).append(site)
    return list(groups.values())


def hashed(sizes: list[int]) -> list[list[int]]:
    """Whole sites in no order, a partition full when it has PART_LINKS links: as before there were plans."""
    groups, links = [list[int]()], 0
    for site in random.Random(0).sample(sizes, len(sizes)):
        if links >= PART_LINKS:
            groups.append([])
            links = 0
        groups[-1].append(site)
        links += site
    return [sorted(group, reverse=True) for group in groups]


if __name__ == "__main__":
    main()
