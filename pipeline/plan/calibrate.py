"""What this node does in a second, measured with torch at the shapes of the model to be trained."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from model import GPTConfig
from pipeline.costs.hardware import Measured

ROUNDS = 5
TOKENS = {"cpu": 2048, "cuda": 16384}
"""Of each measurement: enough to fill the device, little enough to be quick."""


def calibrate(model: GPTConfig, processes: int) -> Measured:
    """Measure the first GPU of this node, or one core of it where it has none.

    processes: how many share the node's memory when it has no GPU.
    """
    if torch.cuda.is_available():
        kind, dtype, precision = "cuda", torch.bfloat16, "bf16"
        name, memory = torch.cuda.get_device_name(0), float(torch.cuda.get_device_properties(0).total_memory)
    else:
        kind, dtype, precision = "cpu", torch.float32, "fp32"
        torch.set_num_threads(1)  # as in training, where every process has one
        name = "cpu"
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / processes

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype, device=kind, requires_grad=True)

    d, ff, width = model.d_model, model.ff_width, torch.finfo(dtype).bits // 8
    sequences = max(1, TOKENS[kind] // model.n_ctx)
    tokens = sequences * model.n_ctx
    x, up, down = random(tokens, d), random(ff, d), random(d, ff)
    matrix_s = _seconds(lambda: F.linear(F.linear(x, up), down), kind)
    q, k, v = (random(sequences, model.n_head, model.n_ctx, model.head_width) for _ in range(3))
    attention_s = _seconds(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True), kind)
    wide = random(tokens, ff)
    passed_s = _seconds(lambda: _between(x, wide), kind)
    return Measured(
        name=name,
        memory_bytes=memory,
        precision=precision,
        matrix_flops=3 * 4 * tokens * d * ff / matrix_s,
        attention_flops=3 * 2 * tokens * model.n_ctx * model.n_head * model.head_width / attention_s,
        memory_bytes_s=3 * tokens * width * (5 * d + 2 * ff) / passed_s,
    )


def _between(x: Tensor, wide: Tensor) -> Tensor:
    """What stands between the products of half a block, as `costs.time` counts it: 5 d and 2 d_ff."""
    normed = x + F.layer_norm(x, x.shape[-1:])
    return normed.sum() + F.gelu(wide, approximate="tanh").sum()


def _seconds(forward: Callable[[], Tensor], kind: str) -> float:
    """Median of a forward and backward pass, after one that nobody counts."""
    taken = []
    for _ in range(ROUNDS + 1):
        _wait(kind)
        began = time.perf_counter()
        forward().sum().backward()  # type: ignore[no-untyped-call]
        _wait(kind)
        taken.append(time.perf_counter() - began)
    return median(taken[1:])


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()
