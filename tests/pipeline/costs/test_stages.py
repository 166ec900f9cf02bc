"""Stages take equal seconds as far as configuration and kind of device tell, or are cut as it says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from model import PRESETS, GPTConfig
from pipeline.config import Parallel
from pipeline.costs.layers import layer_costs, whole_blocks
from pipeline.costs.stages import SPEEDS, WIDTHS, balanced, layer_seconds
from pipeline.costs.time import stage_work
from pipeline.distributed.stage_bounds import stage_bounds
from pipeline.preflight.cases import CASES


def blocks(bounds: list[int]) -> list[int]:
    """How many of the blocks each stage of a pre-norm model holds."""
    held = [high - low for low, high in pairwise(bounds)]
    return [held[0] - 2, *held[1:-1], held[-1] - 2]


@pytest.mark.parametrize("device", SPEEDS)
@pytest.mark.parametrize("preset", ["gpt2-small", "gpt3-xl"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_other_cut_of_whole_blocks_is_faster(device: str, preset: str, checkpointing: bool) -> None:
    model = PRESETS[preset]
    seconds = layer_seconds(model, micro=2, checkpointing=checkpointing, device=device)

    def slowest(bounds: list[int]) -> float:
        return max(sum(seconds[low:high]) for low, high in pairwise(bounds))

    found = slowest(balanced(model, 2, micro=2, checkpointing=checkpointing, device=device))
    others = ([first, model.n_layer - first] for first in range(1, model.n_layer + 1))
    assert found == pytest.approx(min(slowest(whole_blocks(layer_costs(model), cut)) for cut in others))


def test_blocks_that_are_computed_twice_weigh_more_beside_the_head() -> None:
    kept, again = (
        balanced(PRESETS["gpt3-small"], 2, micro=1, checkpointing=twice, device="cpu")
        for twice in (False, True)
    )
    assert blocks(kept) == [8, 4]
    assert blocks(again) == [7, 5]


def test_a_gpu_passes_over_the_logits_more_slowly_than_it_multiplies() -> None:
    cpu, gpu = (
        balanced(PRESETS["gpt2-small"], 2, micro=1, checkpointing=False, device=device)
        for device in ("cpu", "cuda")
    )
    assert blocks(cpu) == [8, 4]
    assert blocks(gpu) == [9, 3]


def test_the_embedding_is_counted() -> None:
    """With few tokens in a micro-batch, adding up a large matrix's gradient takes as long as blocks do."""
    model = GPTConfig(n_layer=8, n_head=2, d_model=128, n_ctx=64, vocab_size=50_257)
    seconds = dict(
        zip(
            [layer.name for layer in layer_costs(model)],
            layer_seconds(model, micro=1, checkpointing=False, device="cpu"),
            strict=True,
        )
    )
    assert seconds["wte"] > 2 * seconds["h.0"]
    assert seconds["head"] > seconds["wte"]


def test_seconds_of_layers_add_up_to_those_of_a_long_micro_batch() -> None:
    model, micro = PRESETS["gpt3-small"], 1024
    work = stage_work(model, layer_costs(model), width=WIDTHS["cuda"], checkpointing=False)
    whole = micro * model.n_ctx * work.seconds(SPEEDS["cuda"])
    assert sum(layer_seconds(model, micro=micro, checkpointing=False, device="cuda")) == pytest.approx(
        whole, rel=0.01
    )


def test_what_the_configuration_says_is_taken(tmp_path: Path) -> None:
    config = CASES[0].config(tmp_path)
    asked = config.model_copy(update={"parallel": Parallel(pipeline_stages=2, blocks_per_stage=[1, 3])})
    assert blocks(stage_bounds(asked, "cpu")) == [1, 3]
    assert blocks(stage_bounds(asked, "cuda")) == [1, 3]


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        ([4, 4], "are 8 blocks, and the model has 12"),
        ([0, 12], "stage 0 of .* needs a block"),
        ([6, 0, 6], "stage 1 of .* needs a block"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(cut: list[int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        whole_blocks(layer_costs(PRESETS["gpt2-small"]), cut)


def test_a_final_norm_and_a_head_are_a_stage_of_their_own() -> None:
    assert whole_blocks(layer_costs(PRESETS["gpt2-small"]), [12, 0]) == [0, 14, 16]
    with pytest.raises(ValueError, match=r"stage 1 of .* needs a block"):
        whole_blocks(layer_costs(PRESETS["gpt1"]), [12, 0])  # no final norm
