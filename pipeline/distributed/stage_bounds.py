"""Stages of a run's pipeline: those of its configuration, else of equal seconds."""

from __future__ import annotations

from pipeline.config import RunConfig
from pipeline.costs.layers import layer_costs, whole_blocks
from pipeline.costs.stages import balanced


def stage_bounds(config: RunConfig, device: str) -> list[int]:
    """Bounds of the run's parts in the model's list of layers, from 0 on; device: "cpu" or "cuda"."""
    parallel = config.parallel
    if parallel.blocks_per_stage is not None:
        return whole_blocks(layer_costs(config.model), parallel.blocks_per_stage)
    return balanced(
        config.model,
        parallel.parts,
        micro=config.batch.micro_batch_size,
        checkpointing=parallel.activation_checkpointing,
        device=device,
    )
