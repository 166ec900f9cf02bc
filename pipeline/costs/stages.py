"""Which layers each pipeline stage holds: as the configuration says, else in equal seconds. Pure.

The partition depends on the configuration and the kind of device only, so that all ranks, and all starts of
a run, make the same. It balances seconds, not operations: the head's loss, embeddings and banded layers pass
over memory more than they multiply, and how much that takes differs between a CPU and a GPU.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from model import GPTConfig
from pipeline.costs.hardware import FITTED, GPUS, Rates
from pipeline.costs.layers import LayerCost, layer_costs, partition, whole_blocks
from pipeline.costs.layout import ParallelLayout
from pipeline.costs.memory import stage_parameters
from pipeline.costs.time import stage_work

SPEEDS = {
    "cpu": Rates(
        matrix_flops=115e9,
        attention_flops=32e9,
        memory_bytes=8e9,
        link_bytes=1e9,
        network_bytes=1e9,
        gpus_per_node=1,
        shapes_measured=True,
    ),
    "cuda": Rates.of(GPUS["a100-80"], FITTED, gpus_per_node=8),
}
"""An AVX2 core, by what single layers took on it, and an A100. Only their ratios count."""
WIDTHS = {"cpu": 4, "cuda": 2}
"""Bytes of an activation."""


def stages_of(model: GPTConfig, layout: ParallelLayout, device: str = "cuda") -> list[list[LayerCost]]:
    """The layers of each stage of a layout."""
    costs = layer_costs(model)
    if layout.blocks_per_stage is not None:
        bounds = whole_blocks(costs, layout.blocks_per_stage)
    else:
        bounds = balanced(
            model, layout.pipeline, micro=layout.micro, checkpointing=layout.checkpointing, device=device
        )
    return [costs[first:last] for first, last in pairwise(bounds)]


@cache
def balanced(model: GPTConfig, parts: int, *, micro: int, checkpointing: bool, device: str) -> list[int]:
    """Bounds of parts of which the slowest is as fast as can be.

    Raises ValueError when there are too few layers for so many.
    """
    return partition(
        layer_costs(model),
        parts,
        layer_seconds(model, micro=micro, checkpointing=checkpointing, device=device),
    )


def layer_seconds(model: GPTConfig, *, micro: int, checkpointing: bool, device: str) -> list[float]:
    """Seconds that each layer computes for a micro-batch, forward and backward."""
    speeds, width = SPEEDS[device], WIDTHS[device]
    seconds = []
    for layer in layer_costs(model):
        work = stage_work(model, [layer], width=width, checkpointing=checkpointing).seconds(speeds)
        # A gradient is written, read, and added in fp32 to the sum of the micro-batches before.
        summed = (2 * width + 8) * stage_parameters(model, [layer]) / speeds.memory_bytes
        seconds.append(micro * model.n_ctx * work + summed)
    return seconds
