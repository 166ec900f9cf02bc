"""Banded attention: block by block against the masked form and against dense attention, forward + backward.

python -m benchmarks.attention.run
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from model.attention import banded_attention

GOAL = 3.0
"""How many times faster than the masked form at T=2048, W=256."""
HEADS, D_HEAD = 12, 64


def masked(q: Tensor, k: Tensor, v: Tensor, band: int) -> Tensor:
    """The same band as a mask over all pairs of tokens."""
    places = torch.arange(q.size(2))
    distance = places[:, None] - places
    return F.scaled_dot_product_attention(q, k, v, attn_mask=(distance >= 0) & (distance < band))


def dense(q: Tensor, k: Tensor, v: Tensor, band: int) -> Tensor:
    """All that came before."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


CONTENDERS: dict[str, Callable[[Tensor, Tensor, Tensor, int], Tensor]] = {
    "ours, by blocks": banded_attention,
    "masked SDPA": masked,
    "dense causal SDPA": dense,
}


def main() -> None:
    """Time every contender in turn, `--rounds` times, and print the medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    print("| T | W | | forward + backward, CPU ms | wall ms | it / ours, CPU | goal |")
    print("|---|---|---|---|---|---|---|")
    for length, band in ((1024, 256), (2048, 256), (4096, 256)):
        q, k, v = (torch.randn(1, HEADS, length, D_HEAD, requires_grad=True) for _ in range(3))
        grad = torch.randn_like(q)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(rounds + 1):
            for name, attention in CONTENDERS.items():
                cpu, wall = time.process_time(), time.perf_counter()
                attention(q, k, v, band).backward(grad)
                taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
        middle = {  # the first round warms up
            name: [1000 * statistics.median(column) for column in zip(*times[1:], strict=True)]
            for name, times in taken.items()
        }
        for name, (cpu, wall) in middle.items():
            ratio = cpu / middle["ours, by blocks"][0]
            goal = f">= {GOAL:.0f}" if (length, name) == (2048, "masked SDPA") else ""
            print(f"| {length} | {band} | {name} | {cpu:.0f} | {wall:.0f} | {ratio:.2f} | {goal} |")


if __name__ == "__main__":
    main()
