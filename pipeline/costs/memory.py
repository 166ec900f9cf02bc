"""Bytes of one GPU by kind. Pure; the tests hold the arithmetic against storages of real processes."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from model import GPTConfig
from model.loss import LARGEST_CHUNK
from pipeline.costs.layers import LayerCost, layer_tensors
from pipeline.costs.layout import WIDTHS, ParallelLayout

BUCKET = 5 * 10**8
"""Elements that DeepSpeed reduces at once, in a copy (its reduce_bucket_size and allreduce_bucket_size)."""
GATHERED = 10**9
"""Parameters that ZeRO-3 keeps whole at once (its stage3_max_live_parameters)."""
PERSISTENT = 10**5
"""Tensors of at most so many elements stay whole under ZeRO-3, beside their share that the optimizer steps
(its stage3_param_persistence_threshold)."""
SUB_GROUP = 10**9
"""Elements that ZeRO-3 steps at once, with a copy of their gradient (its sub_group_size)."""


@dataclass(frozen=True)
class Bytes:
    """Bytes of one GPU at the fullest moment of a step."""

    weights: float
    gradients: float
    optimizer: float
    """Master weights and Adam's two moments, fp32."""
    activations: float
    """Bytes for all micro-batches in flight."""
    logits: float
    """Logits of a chunk, and the gradient of the head's matrix."""
    buffers: float
    """Buckets of collectives, and ZeRO-3's gathered layers."""

    @property
    def total(self) -> float:
        """All kinds."""
        return float(sum(astuple(self)))


def stage_tensors(model: GPTConfig, layers: list[LayerCost]) -> list[int]:
    """Those of a stage: a tied matrix once, or once more on the last stage where embedding and head part."""
    names = {"wte" if model.tied and layer.name == "head" else layer.name for layer in layers}
    return [elements for name in sorted(names) for elements in layer_tensors(model, name)]


def stage_parameters(model: GPTConfig, layers: list[LayerCost]) -> int:
    """Parameters that one stage holds."""
    return sum(stage_tensors(model, layers))


def stage_bytes(
    model: GPTConfig,
    stages: list[list[LayerCost]],
    stage: int,
    layout: ParallelLayout,
    *,
    in_flight: int,
    precision: str,
) -> Bytes:
    """Bytes of a GPU of one stage; `in_flight` micro-batches wait for their backward pass at once.

    precision: "bf16" (with fp32 accumulation, as on GPUs) or "fp32".
    """
    layers, width = stages[stage], WIDTHS[precision]
    held = stage_tensors(model, layers)
    parameters, shared = sum(held), layout.data
    whole = parameters if layout.zero < 3 else sum(size for size in held if size <= PERSISTENT)
    tokens = layout.micro * model.n_ctx
    masters = (
        12 if layout.zero or precision == "bf16" else 8
    )  # plain Adam in fp32 steps the weights themselves
    kept, working = _activations(model, layers, width, layout.checkpointing)
    passed_on = tokens * model.d_model * width if layout.pipeline > 1 else 0
    return Bytes(
        weights=width * (whole + (parameters / shared if layout.zero == 3 else 0)),
        gradients=4 * parameters / (shared if layout.zero >= 2 else 1),
        optimizer=masters * parameters / (shared if layout.zero else 1),
        activations=tokens * (kept * in_flight + working) + passed_on * (in_flight + 1),
        logits=_logits(model, tokens, width) if layers[-1].name == "head" else 0,
        buffers=_buffers(parameters, layout, width),
    )


def in_flight(stage: int, stages: int, micro_batches: int) -> int:
    """Micro-batches that a stage has passed on and not yet had back (1F1B).

    >>> [in_flight(stage, 4, 16) for stage in range(4)]
    [4, 3, 2, 1]
    """
    return min(stages - stage, micro_batches)


def block_activation_bytes(model: GPTConfig, layer: int, width: int) -> float:
    """Bytes a token that block `layer` keeps for its backward pass; `width` bytes an element.

    Kept are the inputs of both norms and of all four matrix products, the feed-forward layer before and
    after its GELU, and attention's queries, keys, values and output. A band's blocks after the first are
    copies, of which keys and values stand twice. Norms keep mean and deviation, attention one sum a head, in
    fp32; dropout its masks (and on CPUs, where it has no flash kernel, attention matrices, not counted).
    """
    d, attention, ff = model.d_model, model.n_head * model.head_width, model.ff_width
    blocks = -(-model.n_ctx // (model.band(layer) or model.n_ctx))
    elements = 4 * d + 2 * ff + attention * (4 if blocks == 1 else 4 + 1 / blocks + 6 * (1 - 1 / blocks))
    masks = 2 * d if model.dropout else 0
    return float(width * elements + 4 * (4 + model.n_head) + masks)


def _activations(
    model: GPTConfig, layers: list[LayerCost], width: int, checkpointing: bool
) -> tuple[float, float]:
    """Bytes a token: kept for each micro-batch in flight, and needed by the one that is being computed."""
    d = model.d_model
    blocks = [
        block_activation_bytes(model, int(layer.name.removeprefix("h.")), width)
        for layer in layers
        if layer.name.startswith("h.")
    ]
    # The backward pass of one block holds the gradients of its widest part beside what was kept.
    working = 2.0 * width * model.ff_width
    kept = sum(2 * d * width for layer in layers if layer.name == "ln_f")
    if any(layer.name == "wte" for layer in layers):
        kept += 8  # the ids
    if checkpointing:
        return kept + len(blocks) * d * width, working + max(blocks, default=0.0)
    return kept + sum(blocks), working


def _logits(model: GPTConfig, tokens: int, width: int) -> float:
    """What `model.loss` holds: a chunk of fp32 logits and its gradient, the matrix's gradient, hidden's."""
    rows = model.padded_vocab_size
    chunk = min(tokens * rows, LARGEST_CHUNK)
    copied = width if width < 4 else 0  # fp32 needs none: the gradient takes the place of the logits
    summed = 4 if copied and tokens * rows > LARGEST_CHUNK else 0
    matrix = rows * model.d_model * (summed + width)
    return chunk * (4 + copied) + matrix + tokens * model.d_model * width


def _buffers(parameters: int, layout: ParallelLayout, width: int) -> float:
    reduce_width = WIDTHS[layout.reduce_dtype]
    if layout.zero >= 2:  # a bucket is as large for the smallest model; what it holds is reduced in a copy
        sent = reduce_width * min(parameters, BUCKET)
        if layout.zero == 2:
            return width * BUCKET + sent
        copied = min(parameters / layout.data, SUB_GROUP)  # in the update, when no layer is gathered
        return reduce_width * BUCKET + max(width * min(parameters, GATHERED), 4 * copied, sent)
    reduced = 0 if layout.data == 1 else 4 * min(parameters, BUCKET)
    # In fp32 the share that Adam steps is copied into one flat gradient, after the reduction.
    stepped = 4 * parameters / layout.data if layout.zero == 1 and width == 4 else 0
    return max(reduced, stepped)
