"""Messages of a training step: the collectives between GPUs, with their number formats and sizes. Pure.

They are those of DeepSpeed 0.19.8, which differ from the ZeRO paper's; a test counts the bytes of real
processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model import GPTConfig
from pipeline.costs.layers import LayerCost, layer_tensors
from pipeline.costs.layout import WIDTHS, ParallelLayout
from pipeline.costs.memory import PERSISTENT, stage_tensors

REUSE_DISTANCE = 10**9
"""Elements within which ZeRO-3 keeps a weight that it needs again (its stage3_max_reuse_distance)."""


@dataclass(frozen=True, kw_only=True)
class Collective:
    """One kind of message that every GPU of a stage takes part in."""

    operation: Literal["all_reduce", "all_gather", "reduce_scatter", "send"]
    """Name in torch.distributed."""
    content: str
    """Content: gradients, weights, activations, or the gradient of a tied matrix."""
    dtype: str
    """"fp32" or "bf16"."""
    elements: int
    """Elements of the whole tensors; of those, an all_gather or reduce_scatter has a share on each rank."""
    each: bool
    """Whether every micro-batch has it; else a step has it once."""
    across: Literal["replicas", "stages"]
    """GPUs that exchange it: those of one stage, or those of two."""

    @property
    def bytes(self) -> int:
        """Bytes of those elements."""
        return WIDTHS[self.dtype] * self.elements

    def in_step(self, micro_batches: int) -> int:
        """Bytes of a step."""
        return self.bytes * (micro_batches if self.each else 1)


def collectives(
    model: GPTConfig, stages: list[list[LayerCost]], stage: int, layout: ParallelLayout, precision: str
) -> list[Collective]:
    """List what a GPU of a stage exchanges; a single number, such as the loss or a norm, is left out.

    precision: format of the weights, and of what passes between stages.
    """
    held = stage_tensors(model, stages[stage])
    return [
        *(_among_replicas(held, layout, precision) if layout.data > 1 else []),
        *_between_stages(model, stages, stage, layout, precision),
    ]


def _among_replicas(held: list[int], layout: ParallelLayout, precision: str) -> list[Collective]:
    """List the messages among replicas that hold tensors of so many elements.

    ZeRO-0 and 1 all-reduce the sum of all micro-batches. ZeRO-2 all-reduces each micro-batch's gradients, of
    which a rank keeps its share (DeepSpeed issue 7059). ZeRO-1 and 2 gather the updated weights. ZeRO-3
    scatters the gradients and gathers the weights, those of at most PERSISTENT elements once a step.
    """
    parameters = sum(held)
    averaged = Collective(
        operation="all_reduce" if layout.zero < 3 else "reduce_scatter",
        content="gradients",
        dtype=layout.reduce_dtype,
        elements=parameters,
        each=layout.zero >= 2,
        across="replicas",
    )

    def gathered(elements: int, each: bool) -> Collective:
        return Collective(
            operation="all_gather",
            content="weights",
            dtype=precision,
            elements=elements,
            each=each,
            across="replicas",
        )

    if layout.zero == 0:
        return [averaged]
    if layout.zero < 3:
        return [averaged, gathered(parameters, each=False)]
    persistent = sum(elements for elements in held if elements <= PERSISTENT)
    # The backward pass meets the last weights soon after the forward pass, which keeps about so many of them.
    again = max(0, parameters - persistent - REUSE_DISTANCE // 2)
    return [averaged, gathered(parameters - persistent + again, each=True), gathered(persistent, each=False)]


def _between_stages(
    model: GPTConfig, stages: list[list[LayerCost]], stage: int, layout: ParallelLayout, precision: str
) -> list[Collective]:
    """List what passes between stages: activations, gradients, and once a step that of a tied matrix."""
    last = len(stages) - 1
    if not last:
        return []

    def sent(content: str) -> Collective:
        return Collective(
            operation="send",
            content=content,
            dtype=precision,
            elements=layout.micro * model.n_ctx * model.d_model,
            each=True,
            across="stages",
        )

    found = [sent("activations")] if stage < last else []
    found += [sent("gradients")] if stage > 0 else []
    if model.tied and stage in (0, last):
        (elements,) = layer_tensors(model, "wte")
        tied = Collective(
            operation="all_reduce",
            content="tied gradient",
            dtype="fp32",
            elements=elements,
            each=False,
            across="stages",
        )
        found.append(tied)
    return found
