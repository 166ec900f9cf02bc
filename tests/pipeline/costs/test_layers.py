"""The cut into stages balances cost and leaves no stage without a parameter of each optimizer group."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import PRESETS, GPTConfig
from model.layers import layers
from pipeline.costs.layers import (
    LayerCost,
    layer_costs,
    mfu_flops_per_token,
    parameters,
    partition,
    training_flops_per_token,
)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_costs_follow_the_models_own_list_of_layers(preset: str) -> None:
    config = PRESETS[preset]
    assert [cost.name for cost in layer_costs(config)] == [layer.name for layer in layers(config)]


@pytest.mark.parametrize("preset", ["gpt1", "gpt2-small", "gpt3-175b"])
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 12])
def test_every_stage_has_both_groups_and_none_is_much_dearer(preset: str, stages: int) -> None:
    costs = layer_costs(PRESETS[preset])
    bounds = partition(costs, stages)
    cuts = [costs[first:last] for first, last in pairwise(bounds)]
    assert [cost for cut in cuts for cost in cut] == costs
    assert all(frozenset().union(*(cost.groups for cost in cut)) == {"decay", "no_decay"} for cut in cuts)
    fair = sum(cost.flops for cost in costs) / stages
    dearest_layer = max(cost.flops for cost in costs)
    assert max(sum(cost.flops for cost in cut) for cut in cuts) <= fair + 2 * dearest_layer


GROUPS = [frozenset(), frozenset({"decay"}), frozenset({"no_decay"}), frozenset({"decay", "no_decay"})]
LAYERS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(GROUPS)), min_size=1, max_size=9)


@given(LAYERS, st.integers(1, 4))
def test_no_contiguous_cut_is_better(drawn: list[tuple[int, frozenset[str]]], stages: int) -> None:
    """Against every cut that there is, over costs of any kind: operations, or measured times."""
    costs = [LayerCost(str(place), flops, groups) for place, (flops, groups) in enumerate(drawn)]
    every = frozenset().union(*(cost.groups for cost in costs))

    def dearest(bounds: list[int]) -> float | None:
        cuts = [costs[first:last] for first, last in pairwise(bounds)]
        if any(frozenset().union(*(cost.groups for cost in cut)) != every for cut in cuts):
            return None
        return max(sum(cost.flops for cost in cut) for cut in cuts)

    all_cuts = [[0, *inner, len(costs)] for inner in combinations(range(1, len(costs)), stages - 1)]
    possible = [cost for cost in map(dearest, all_cuts) if cost is not None]
    if possible:
        found = partition(costs, stages)
        assert dearest(found) == min(possible)
        weights = [cost.flops for cost in costs]
        assert partition([replace(cost, flops=1.0) for cost in costs], stages, weights) == found
    else:
        with pytest.raises(ValueError, match="use at most"):
            partition(costs, stages)


def test_a_dear_head_takes_blocks_off_the_last_stage() -> None:
    config = GPTConfig(n_layer=8, n_head=4, d_model=256, n_ctx=256, vocab_size=8192)
    first, last = (high - low for low, high in pairwise(partition(layer_costs(config), 2)))
    blocks = [first - 2, last - 2]
    assert blocks == [5, 3]


@pytest.mark.parametrize(("preset", "most"), [("gpt1", 12), ("gpt2-small", 13)])
def test_more_stages_than_can_hold_both_groups_are_refused(preset: str, most: int) -> None:
    """GPT-2's last stage may be its final norm and head; GPT-1 has no final norm."""
    costs = layer_costs(PRESETS[preset])
    assert len(partition(costs, most)) == most + 1
    with pytest.raises(ValueError, match=f"use at most {most} stages"):
        partition(costs, most + 1)


def test_training_costs_six_operations_a_parameter_besides_attention() -> None:
    config = PRESETS["gpt2-small"]
    parameters = 124e6 - 1024 * 768  # positions are looked up, not multiplied
    attention = 3 * 12 * 4 * 512 * 768
    assert training_flops_per_token(config) == pytest.approx(6 * parameters + attention, rel=0.01)


@pytest.mark.parametrize(
    ("preset", "n", "layers", "d_model", "n_ctx"),
    [("gpt2-small", 124_439_808, 12, 768, 1024), ("gpt3-175b", 174_604_259_328, 96, 12288, 2048)],
)
def test_mfu_counts_what_other_projects_count(
    preset: str, n: int, layers: int, d_model: int, n_ctx: int
) -> None:
    """6N + 12LDT: all parameters, and the whole square of attention in banded layers too (GPT-3 has some)."""
    config = PRESETS[preset]
    assert parameters(config) == n
    expected = 6 * parameters(config) + 12 * layers * d_model * n_ctx
    assert mfu_flops_per_token(config) == expected
    assert mfu_flops_per_token(config) > training_flops_per_token(config)


def test_a_banded_layer_costs_by_its_band_and_no_more_than_a_dense_one() -> None:
    """Of the causal MFU: 4 operations a seen key and an element of attention's width, three times over."""

    def attention(*pattern: str) -> float:
        config = GPTConfig(n_layer=2, n_head=2, d_model=32, n_ctx=64, vocab_size=61, attention=pattern)
        return training_flops_per_token(config) - without

    bare = GPTConfig(n_layer=2, n_head=2, d_model=32, n_ctx=64, vocab_size=61)
    without = training_flops_per_token(bare) - 2 * 3 * 4 * 32 * 32  # causal: half of 64 keys in the mean
    assert attention("dense") == 2 * 3 * 4 * 32 * 32
    assert attention("banded:8") == 2 * 3 * 4 * 8 * 32
    assert attention("dense", "banded:8") == 3 * 4 * (32 + 8) * 32
    assert attention("banded:60") == attention("dense"), "a band wider than the mean of a dense layer"
