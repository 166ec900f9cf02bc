"""The head's loss by chunks against logits that stand whole: time of forward + backward, and peak memory.

python -m benchmarks.loss.run
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from model.loss import head_loss

SIZES = ((512, 256, 8192), (1024, 384, 50257), (128, 768, 50257), (4096, 768, 50257))
"""Tokens, width and ids: the three training steps of the benchmarks, and a batch of four contexts."""


def whole(hidden: Tensor, weight: Tensor, targets: Tensor, vocab_size: int) -> Tensor:
    """All logits, then cross-entropy; padding is masked by a bias."""
    bias = torch.zeros(weight.size(0))
    bias[vocab_size:] = torch.finfo(bias.dtype).min / 2
    return F.cross_entropy(F.linear(hidden, weight, bias), targets)


CONTENDERS = {"by chunks": head_loss, "whole": whole}


def step(name: str, tensors: tuple[Tensor, Tensor, Tensor], vocab_size: int) -> tuple[float, float]:
    """CPU and wall seconds of one forward and backward pass."""
    hidden, weight, targets = tensors
    hidden.grad = weight.grad = None
    cpu, wall = time.process_time(), time.perf_counter()
    CONTENDERS[name](hidden, weight, targets, vocab_size).backward()
    return time.process_time() - cpu, time.perf_counter() - wall


def case(tokens: int, width: int, ids: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random hidden states, matrix and targets."""
    padded = -(-ids // 128) * 128
    hidden = torch.randn(tokens, width).requires_grad_()
    weight = torch.randn(padded, width).mul_(0.02).requires_grad_()  # in place: no peak before the step's
    return hidden, weight, torch.randint(ids, (tokens,))


def peak_bytes(name: str, size: tuple[int, int, int]) -> int:
    """What one step adds to the memory of a process of its own, with its gradients."""
    code = (
        "import json, sys; sys.path[0:0] = json.loads(sys.argv[3]); import torch;"
        "from benchmarks.loss import run as loss; from benchmarks.measure import high_water;"
        "torch.set_num_threads(1); size = json.loads(sys.argv[2]); tensors = loss.case(*size);"
        "before = high_water(); loss.step(sys.argv[1], tensors, size[2]);"
        "print(high_water() - before)"
    )
    command = [sys.executable, "-c", code, name, json.dumps(size), json.dumps(sys.path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Time both in turn, `--rounds` times, and print the medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    print("| tokens | width | ids | | CPU ms | wall ms | ours / it, CPU | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for size in SIZES:
        tensors = case(*size)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(rounds + 1 if size[0] < 4000 else 2):
            for name in CONTENDERS:
                taken[name].append(step(name, tensors, size[2]))
        ours = statistics.median(cpu for cpu, _ in taken["by chunks"][1:])
        for name, times in taken.items():
            cpu, wall = (statistics.median(column) for column in zip(*times[1:], strict=True))
            peak = peak_bytes(name, size) / 1e6
            print(
                f"| {size[0]} | {size[1]} | {size[2]} | {name} | {cpu * 1000:.0f} | {wall * 1000:.0f} | "
                f"{ours / cpu:.2f} | {peak:.0f} |"
            )


if __name__ == "__main__":
    main()
