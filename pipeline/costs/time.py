"""Seconds of a training step, from operations, bytes and what passes between GPUs. Pure.

A GPU's time for a micro-batch is the sum of three: matrix products at a share of the fastest, attention at
a share of the fastest, and all that is read and written, by the products and by everything between them, at
a share of the memory bandwidth. The shares are fitted (`pipeline.costs.hardware`) or the rates measured
(`pipeline.plan.calibrate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from model import GPTConfig
from pipeline.costs.collectives import Collective, collectives
from pipeline.costs.hardware import HOST_S_PER_BLOCK, Rates
from pipeline.costs.layers import LayerCost
from pipeline.costs.layout import WIDTHS, ParallelLayout
from pipeline.costs.memory import stage_parameters


@dataclass(frozen=True)
class Program:
    """Memory traffic of a program between its matrix products, by how far it fuses them."""

    model_widths: float
    """Times d_model elements, by a block's norms and residual sums, forward; backward twice that."""
    ff_widths: float
    """Times d_ff elements, by its activation function, forward; backward twice that."""
    logit_passes: float
    """Passes over the logits in the run's own precision, by the loss and its gradient."""
    precise_logit_passes: float = 0
    """Passes over them in fp32."""
    score_bytes: float = 0
    """Bytes for each attention score, forward and backward, where they stand whole; 0 for flash attention."""
    products_again: float = 1
    """Share of a block's products that checkpointing computes again."""
    attention_again: float = 1
    """The same of its attention."""


OURS = Program(model_widths=10, ff_widths=2, logit_passes=4, precise_logit_passes=8)
"""Each operation reads its inputs and writes its output: a norm moves 2 widths, a residual sum 3, a GELU 2;
the loss passes eight times over fp32 logits and four over their gradient."""


@dataclass(frozen=True)
class StageWork:
    """Cost of one token in one stage, forward and backward."""

    matrix_flops: float
    attention_flops: float
    matrix_bytes: float
    """Read and written by matrix products: their operands and results of (tokens, width)."""
    memory_bytes: float
    """Read and written between them: norms, GELU, residuals, the loss."""

    def seconds(self, rates: Rates) -> float:
        """On one GPU, for one token."""
        moved = self.memory_bytes + (0 if rates.shapes_measured else self.matrix_bytes)
        return (
            self.matrix_flops / rates.matrix_flops
            + self.attention_flops / rates.attention_flops
            + moved / rates.memory_bytes
        )


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step on the dearest path."""

    compute: float
    """Computing of the slowest stage, all its micro-batches."""
    bubble: float
    """Waiting for the pipeline to fill and to drain."""
    communication: float
    """Communication that computing does not hide: gradients, weights and activations."""
    optimizer: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.bubble + self.communication + self.optimizer


def step_time(
    model: GPTConfig,
    stages: list[list[LayerCost]],
    layout: ParallelLayout,
    *,
    sequences: int,
    rates: Rates,
    precision: str,
    program: Program = OURS,
) -> StepTime:
    """Predict a step of so many sequences over all replicas."""
    width = WIDTHS[precision]
    count = layout.micro_batches(sequences)
    parameters = max(stage_parameters(model, layers) for layers in stages)
    slowest = max(
        _micro_batch(model, layers, layout, rates=rates, width=width, program=program) for layers in stages
    )
    messages = [collectives(model, stages, stage, layout, precision) for stage in range(len(stages))]

    def passing(stage: int, each: bool, *across: str) -> float:
        chosen = [message for message in messages[stage] if message.each == each and message.across in across]
        return sum(_passing(message, layout, rates) for message in chosen)

    # DeepSpeed waits for an activation to go on, and for its gradient to come back.
    sent = 2 * passing(0, True, "stages")
    # ZeRO-3 exchanges beside the computing, ZeRO-2 after it; stages have neither.
    shared = max(0.0, passing(0, True, "replicas") - (slowest if layout.zero == 3 else 0.0))
    once = max(passing(stage, False, "replicas", "stages") for stage in range(len(stages)))
    return StepTime(
        compute=count * slowest,
        bubble=(layout.pipeline - 1) * (slowest + sent),
        communication=count * (sent + shared) + once,
        optimizer=_update(parameters, layout, rates),
    )


def _micro_batch(
    model: GPTConfig,
    layers: list[LayerCost],
    layout: ParallelLayout,
    *,
    rates: Rates,
    width: int,
    program: Program,
) -> float:
    """Seconds that one stage computes, or that the host needs to launch it, whichever is longer."""
    work = stage_work(
        model, layers, width=width, checkpointing=layout.checkpointing, program=program
    ).seconds(rates)
    # A weight's gradient is written, read, and added to its sum of the micro-batches before.
    summed = (2 * width + 8) * stage_parameters(model, layers) / rates.memory_bytes
    launches = HOST_S_PER_BLOCK * (2 if layout.zero == 3 else 1)  # ZeRO-3 runs Python round every module
    blocks = sum(layer.name.startswith("h.") for layer in layers)
    return max(layout.micro * model.n_ctx * work + summed, launches * blocks)


def stage_work(
    model: GPTConfig, layers: list[LayerCost], *, width: int, checkpointing: bool, program: Program = OURS
) -> StageWork:
    """Count what a token costs in a stage; with checkpointing, blocks go forward twice.

    A product reads an operand and writes a result of a token's width, as its two in the backward pass do;
    weights, which all tokens share, are not counted. Banded attention copies its blocks.
    """
    d, attention, ff = model.d_model, model.n_head * model.head_width, model.ff_width
    matrix = attended = operands = memory = 0.0
    for layer in layers:
        passes = 3
        if layer.name.startswith("h."):
            band = model.band(int(layer.name.removeprefix("h.")))
            products = 3 + checkpointing * program.products_again
            matrix += products * 2 * (4 * d * attention + 2 * d * ff)
            operands += products * width * (4 * d + 4 * attention + 2 * ff)
            passes += checkpointing
            if program.score_bytes:  # whole scores, the causal half masked: two products more
                matrix += passes * 4 * model.n_ctx * attention
                memory += program.score_bytes * model.n_head * model.n_ctx
            else:
                # As it is computed: causal SDPA skips half, a band's blocks see twice their width.
                blocked = band is not None and band < model.n_ctx
                seen = 2 * band if blocked and band is not None else model.n_ctx / 2
                attended += (3 + checkpointing * program.attention_again) * 4 * seen * attention
                memory += passes * width * (14 * attention if blocked else 0)
            memory += passes * width * (program.model_widths * d + program.ff_widths * ff)
        elif layer.name == "head":
            matrix += passes * 2 * d * model.padded_vocab_size
            operands += passes * width * (d + model.padded_vocab_size)
            logit = width * program.logit_passes + 4 * program.precise_logit_passes
            memory += model.padded_vocab_size * logit
        elif layer.name == "ln_f":
            memory += passes * width * 2 * d
        else:
            memory += width * 4 * d
    return StageWork(matrix, attended, operands, memory)


def _crosses_nodes(ranks: int, rates: Rates) -> bool:
    """Whether neighbouring ranks in groups of so many leave their node somewhere."""
    return rates.gpus_per_node % ranks != 0


def _collective_bytes_s(ranks: int, rates: Rates) -> float:
    """Bus bandwidth of a ring over neighbouring ranks: its slowest link, all adapters of a node at work."""
    return min(rates.link_bytes, rates.network_bytes) if _crosses_nodes(ranks, rates) else rates.link_bytes


def _passing(message: Collective, layout: ParallelLayout, rates: Rates) -> float:
    """Seconds of a message. A ring passes what it gathers or scatters once, what it all-reduces twice."""
    if message.across == "stages":  # from one GPU to another; the all-reduce of two passes every byte once
        return message.bytes / _stage_bytes_s(layout, rates)
    ring = (layout.data - 1) / layout.data * (2 if message.operation == "all_reduce" else 1)
    return ring * message.bytes / _collective_bytes_s(layout.data, rates)


def _stage_bytes_s(layout: ParallelLayout, rates: Rates) -> float:
    """Bandwidth between stages, which lie `layout.data` ranks apart: each GPU has a share of the network."""
    if layout.gpus <= rates.gpus_per_node:
        return rates.link_bytes
    return min(rates.link_bytes, rates.network_bytes / rates.gpus_per_node)


def _update(parameters: int, layout: ParallelLayout, rates: Rates) -> float:
    """Adam moves 30 bytes a parameter of its share; norm, clipping and zeroing pass over the gradients."""
    share = parameters / (layout.data if layout.zero else 1)
    return (30 * share + 3 * 4 * (parameters if layout.zero < 2 else share)) / rates.memory_bytes
