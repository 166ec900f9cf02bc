"""What the check of the nodes has found, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.train.nodes.judge import Speed


def summary(
    nodes: Sequence[str], offsets_s: Sequence[float], speeds: Sequence[Speed], all_reduce: float | None
) -> str:
    """Describe all nodes together in one line. nodes, offsets_s, speeds: of each rank.

    >>> summary(["a", "b"], [0.0, 0.01], [Speed(flops=6.2e14, link=9e9), Speed(flops=6e14, link=9e9)], 7e9)
    '2 nodes, clocks within 0.01 s, products 600 to 620 TFLOP/s a rank, links 9 GB/s, all-reduce 7 GB/s'
    """
    count = len(set(nodes))
    apart = max(offsets_s) - min(offsets_s)
    parts = [f"{count} nodes" if count > 1 else "1 node", f"clocks within {apart:.2f} s", *_speeds(speeds)]
    if all_reduce is not None:
        parts.append(f"all-reduce {all_reduce / 1e9:.3g} GB/s")
    return ", ".join(parts)


def each_node(
    nodes: Sequence[str], devices: Sequence[str], offsets_s: Sequence[float], speeds: Sequence[Speed]
) -> list[str]:
    """Describe each node in a line; the arguments have a value of each rank.

    >>> speeds = [Speed(flops=6.2e14, link=9e9), Speed(flops=6e14, link=None)]
    >>> each_node(["a", "a"], ["NVIDIA H200", "NVIDIA H200"], [0.01, 0.01], speeds)
    ['a: 2 x NVIDIA H200, clock +0.01 s, products 600 to 620 TFLOP/s a rank, links 9 GB/s']
    """
    lines = []
    for node in dict.fromkeys(nodes):
        ranks = [rank for rank, name in enumerate(nodes) if name == node]
        own = [speeds[rank] for rank in ranks] if speeds else []
        parts = [
            f"{len(ranks)} x {devices[ranks[0]]}",
            f"clock {round(offsets_s[ranks[0]], 2) + 0.0:+} s",
            *_speeds(own),
        ]
        lines.append(f"{node}: {', '.join(parts)}")
    return lines


def _speeds(speeds: Sequence[Speed]) -> list[str]:
    parts = []
    if speeds:
        parts.append(f"products {_span(speed.flops / 1e12 for speed in speeds)} TFLOP/s a rank")
    if links := [speed.link for speed in speeds if speed.link is not None]:
        parts.append(f"links {_span(link / 1e9 for link in links)} GB/s")
    return parts


def _span(values: Iterable[float]) -> str:
    low, *_, high = [f"{value:.3g}" for value in sorted([*values] * 2)]
    return low if low == high else f"{low} to {high}"
