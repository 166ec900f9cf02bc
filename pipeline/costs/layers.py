"""How layers are partitioned into pipeline stages: by cost, and so that no stage hangs the others. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise

from model import GPTConfig

DECAY, NO_DECAY = "decay", "no_decay"
"""The optimizer's two groups: matrices, which weight decay shrinks, and gains and biases, which it spares."""


@dataclass(frozen=True)
class LayerCost:
    """One layer of `model.layers.layers`: what it costs, and which optimizer groups it has parameters of."""

    name: str
    flops: float
    """Forward floating-point operations a token, multiply and add counted apart."""
    groups: frozenset[str]


def layer_costs(config: GPTConfig) -> list[LayerCost]:
    """Cost every layer, in the model's order (Brown et al. 2020, appendix D, plus attention and head).

    Causal attention is counted as half its square, a band by its width.
    """
    d_model, d_attention = config.d_model, config.n_head * config.head_width
    matrices = 4 * d_model * d_attention + 2 * d_model * config.ff_width
    both, matrix, gain = frozenset({DECAY, NO_DECAY}), frozenset({DECAY}), frozenset({NO_DECAY})
    costs = [LayerCost("wte", 0.0, matrix), LayerCost("wpe", 0.0, matrix)]
    for index in range(config.n_layer):
        seen = min(config.band(index) or config.n_ctx, config.n_ctx / 2)
        costs.append(LayerCost(f"h.{index}", 2.0 * matrices + 4.0 * seen * d_attention, both))
    if config.norm == "pre":
        costs.append(LayerCost("ln_f", 0.0, gain))
    costs.append(LayerCost("head", 2.0 * d_model * config.padded_vocab_size, matrix))
    return costs


def layer_tensors(model: GPTConfig, name: str) -> list[int]:
    """Elements of each parameter of a layer of `model.layers.layers`, the vocabulary's padding included."""
    d, attention, ff = model.d_model, model.n_head * model.head_width, model.ff_width
    if name == "wpe":
        return [model.n_ctx * d]
    if name in ("wte", "head"):
        return [model.padded_vocab_size * d]
    if name == "ln_f":
        return [d, d]
    matrices = [3 * attention * d, d * attention, ff * d, d * ff]
    biases = [3 * attention, d, ff, d]
    return [*matrices, *biases, d, d, d, d]


def parameters(model: GPTConfig) -> int:
    """Count the parameters of the whole model, without the vocabulary's padding."""
    names = [layer.name for layer in layer_costs(model) if not (model.tied and layer.name == "head")]
    padding = (model.padded_vocab_size - model.vocab_size) * model.d_model * (1 if model.tied else 2)
    return sum(sum(layer_tensors(model, name)) for name in names) - padding


def training_flops_per_token(config: GPTConfig) -> float:
    """Operations that training needs, for `mfu_causal`; the backward pass costs twice the forward."""
    return 3 * sum(layer.flops for layer in layer_costs(config))


def mfu_flops_per_token(config: GPTConfig) -> float:
    """Operations that MFU counts: 6N + 12LDT (Chowdhery et al. 2022, appendix B), as other projects print it.

    N: all parameters; D: width of attention, which is d_model unless the heads have a width of their own.
    The whole square of attention counts in every layer, a banded one too, and embeddings count as products.

    >>> from model.presets import PRESETS
    >>> f"{mfu_flops_per_token(PRESETS['gpt2-small']):.4g}"
    '8.599e+08'
    """
    d_attention = config.n_head * config.head_width
    return 6 * parameters(config) + 12 * config.n_layer * d_attention * config.n_ctx


def partition(costs: list[LayerCost], stages: int, weights: Sequence[float] | None = None) -> list[int]:
    """Cut the layers so that the dearest stage is as cheap as can be: `stages` + 1 bounds, 0 to len(costs).

    weights: what each layer counts, in any unit; its operations when absent.

    Every stage gets a parameter of each optimizer group. DeepSpeed all-reduces the gradient norm once a
    group a stage has, and hangs when stages differ (its issues 1522 and 5078).

    Raises ValueError when there are too few layers for that.
    """
    every = _groups(costs)
    sums = [0.0, *accumulate(weights if weights is not None else [layer.flops for layer in costs])]

    @cache
    def best(first: int, left: int) -> tuple[float, tuple[int, ...]] | None:
        """The cheapest partition of costs[first:] into `left` stages: (dearest stage, bounds after first)."""
        if left == 1:
            complete = first < len(costs) and _groups(costs[first:]) == every
            return (sums[-1] - sums[first], (len(costs),)) if complete else None
        found: tuple[float, tuple[int, ...]] | None = None
        held = frozenset[str]()
        for bound in range(first + 1, len(costs)):
            held |= costs[bound - 1].groups
            mine = sums[bound] - sums[first]
            if found is not None and mine >= found[0]:
                break
            if held != every or (rest := best(bound, left - 1)) is None:
                continue
            dearest = max(mine, rest[0])
            if found is None or dearest < found[0]:
                found = dearest, (bound, *rest[1])
        return found

    cheapest = best(0, stages)
    if cheapest is None:
        raise ValueError(
            f"{stages} stages cannot each hold a matrix and a gain of a model with {len(costs)} layers "
            f"(DeepSpeed would hang): use at most {_most_stages(costs, every)} stages"
        )
    return [0, *cheapest[1]]


def whole_blocks(costs: list[LayerCost], blocks: Sequence[int]) -> list[int]:
    """Bounds of stages with so many blocks each; embeddings go to the first, final norm and head to the last.

    >>> whole_blocks(layer_costs(GPTConfig(n_layer=4, n_head=1, d_model=8, n_ctx=8, vocab_size=8)), [3, 1])
    [0, 5, 8]

    Raises ValueError when those are not the model's blocks, or a stage lacks an optimizer group.
    """
    count = sum(layer.name.startswith("h.") for layer in costs)
    if sum(blocks) != count:
        raise ValueError(f"{list(blocks)} are {sum(blocks)} blocks, and the model has {count}")
    first = next(place for place, layer in enumerate(costs) if layer.name.startswith("h."))
    bounds = [0, *(first + held for held in accumulate(blocks[:-1])), len(costs)]
    for stage, (low, high) in enumerate(pairwise(bounds)):
        if _groups(costs[low:high]) != _groups(costs):
            raise ValueError(f"stage {stage} of {list(blocks)} needs a block (DeepSpeed would hang)")
    return bounds


def _most_stages(costs: list[LayerCost], every: frozenset[str]) -> int:
    """Count the stages when each ends as soon as it holds every group."""
    stages, held = 0, frozenset[str]()
    for layer in costs:
        held |= layer.groups
        if held == every:
            stages, held = stages + 1, frozenset()
    return stages


def describe(costs: list[LayerCost], bounds: list[int]) -> str:
    """Name each stage's layers and its share of the operations, for the log."""
    total = sum(layer.flops for layer in costs)
    return "; ".join(
        f"stage {stage}: {costs[first].name}..{costs[last - 1].name} "
        f"{sum(layer.flops for layer in costs[first:last]) / total:.0%}"
        for stage, (first, last) in enumerate(pairwise(bounds))
    )


def _groups(costs: list[LayerCost]) -> frozenset[str]:
    return frozenset[str]().union(*(layer.groups for layer in costs))
