"""One way to spread a model over GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from model import GPTConfig
from pipeline.partition import LayerCost, layer_costs, partition


@dataclass(frozen=True)
class Layout:
    """How a run is spread: `pipeline` stages times `data` replicas, one process a GPU."""

    pipeline: int
    data: int
    zero: int
    micro: int
    """Sequences of one forward pass."""
    checkpointing: bool = False
    """Blocks keep their inputs only, and are computed again in the backward pass."""

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.pipeline * self.data

    def micro_batches(self, sequences: int) -> int:
        """Micro-batches of one replica in a step of so many sequences."""
        return sequences // (self.micro * self.data)


@cache
def stages_of(model: GPTConfig, pipeline: int) -> list[list[LayerCost]]:
    """The layers of each stage, cut as the engine cuts them."""
    costs = layer_costs(model)
    return [costs[first:last] for first, last in pairwise(partition(costs, pipeline))]
