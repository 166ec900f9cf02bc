"""The planner's bytes are those that real processes hold and exchange, and that a backward pass keeps."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from model import GPT, PRESETS, GPTConfig, loss
from model.block import Block
from pipeline.config import load_ahead
from pipeline.costs import memory
from pipeline.costs.hardware import Rates
from pipeline.costs.layers import layer_costs, layer_tensors, parameters
from pipeline.costs.layout import ParallelLayout
from pipeline.costs.memory import block_activation_bytes, stage_bytes, stage_parameters
from pipeline.costs.stages import stages_of
from pipeline.plan.predict import Cluster, Stage
from pipeline.plan.search import configured
from support.live_memory import LiveMemory
from support.ranks import Ranks

pytestmark = pytest.mark.slow(30)

MODEL = {"n_layer": 4, "n_head": 2, "d_model": 192, "n_ctx": 16, "vocab_size": 500}
"""Of its matrices, some are small enough for ZeRO-3 to keep whole, and some are shared out."""


MICRO_BATCHES = 8
"""Micro-batches of a step, over all replicas; 1 in LONG."""


class Layout(NamedTuple):
    """How a run is spread."""

    processes: int
    pipeline: int
    zero: int
    precision: str
    reduce_dtype: str = "fp32"
    n_ctx: int = 16
    checkpointing: bool = False


LAYOUTS = [
    Layout(1, 1, 1, "bf16"),
    Layout(2, 1, 0, "fp32"),
    Layout(2, 1, 1, "fp32"),
    Layout(2, 1, 1, "bf16"),
    Layout(2, 1, 2, "bf16"),
    Layout(2, 1, 2, "bf16", "bf16"),
    Layout(2, 1, 3, "fp32"),
    Layout(2, 1, 3, "bf16"),
    Layout(2, 1, 3, "bf16", "bf16"),
    Layout(2, 2, 1, "fp32"),
    Layout(4, 2, 1, "bf16"),
]
LONG = [Layout(1, 1, 1, "fp32", n_ctx=512, checkpointing=checkpointing) for checkpointing in (False, True)]
"""Of one micro-batch, whose activations take far more than gradients."""
Measured = dict[Layout, list[dict[str, Any]]]
"""What each rank held and exchanged."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """What real ranks did in each layout."""
    found: Measured = {}
    for processes, group in groupby([*LONG, *LAYOUTS], lambda layout: layout.processes):
        home, layouts = tmp_path_factory.mktemp("layouts"), list(group)
        told = measure(home, [written(home, layout) for layout in layouts], processes)
        found |= zip(layouts, told, strict=True)
    return found


def planned(layout: Layout, home: Path) -> list[Stage]:
    """The stages as `outbound plan` predicts them."""
    rates = Rates(
        matrix_flops=1e11,
        attention_flops=1e11,
        memory_bytes=1e10,
        link_bytes=1e9,
        network_bytes=1e9,
        gpus_per_node=layout.processes,
    )
    cluster = Cluster(
        name="cpu",
        nodes=1,
        gpus_per_node=layout.processes,
        memory_bytes=2**34,
        peak_flops=1e11,
        rates=rates,
        precision=layout.precision,
    )
    found = configured(load_ahead(written(home, layout), []), cluster)
    assert not isinstance(found, str)
    return found.stages


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_bytes_of_real_ranks_are_as_planned(measured: Measured, tmp_path: Path, layout: Layout) -> None:
    stages = planned(layout, tmp_path)
    for rank, held in enumerate(measured[layout]):
        expected = vars(stages[rank // (layout.processes // layout.pipeline)].bytes)
        for kind in ("weights", "gradients", "optimizer"):
            assert held[kind] == pytest.approx(expected[kind], rel=0.01), f"{kind} of rank {rank}"
        assert 0.99 * expected["buffers"] <= held["buffers"] <= expected["buffers"]
        assert held["loss"] == pytest.approx(expected["logits"], rel=0.001)


@pytest.mark.parametrize("layout", LONG, ids=str)
def test_the_activations_of_a_real_rank_are_as_planned(
    measured: Measured, tmp_path: Path, layout: Layout
) -> None:
    """Of what is planned with checkpointing, the blocks' inputs are 13 % and the inside of one 53 %."""
    (held,) = measured[layout]
    assert held["fresh"] == pytest.approx(planned(layout, tmp_path)[0].bytes.activations, rel=0.05)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, "fp32"), (torch.bfloat16, "bf16")])
def test_a_loss_in_chunks_holds_what_is_planned(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, precision: str
) -> None:
    model = GPTConfig(n_layer=1, n_head=2, d_model=64, n_ctx=512, vocab_size=1024)
    for module in (loss, memory):
        monkeypatch.setattr(module, "LARGEST_CHUNK", 512 * 1024 // 8)
    hidden = torch.randn(1, model.n_ctx, model.d_model, dtype=dtype, requires_grad=True)
    matrix = torch.randn(model.padded_vocab_size, model.d_model, dtype=dtype, requires_grad=True)
    targets = torch.zeros(1, model.n_ctx, dtype=torch.int64)
    with LiveMemory() as live:
        loss.head_loss(hidden, matrix, targets, model.vocab_size)
    layout = ParallelLayout(pipeline=1, data=1, zero=1, micro=1)
    expected = stage_bytes(model, [layer_costs(model)], 0, layout, in_flight=1, precision=precision)
    assert live.most == pytest.approx(expected.logits, rel=0.03)


FORMATS = {"fp32": ("float32", 4), "bf16": ("bfloat16", 2)}
"""torch's names of the planner's number formats, and bytes of a number."""


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout.pipeline == 1], ids=str)
def test_gradients_are_averaged_in_fp32_unless_asked_otherwise(measured: Measured, layout: Layout) -> None:
    """Once a step their sum, under ZeRO-2 and 3 those of each micro-batch; on one rank none."""
    name, width = FORMATS[layout.reduce_dtype]
    times = MICRO_BATCHES // layout.processes if layout.zero >= 2 else 1
    whole = stage_parameters(GPTConfig(**MODEL), layer_costs(GPTConfig(**MODEL)))
    operation = "reduce_scatter" if layout.zero == 3 else "all_reduce"
    for rank in measured[layout]:
        averaged = [row for row in rank["exchanged"] if row[0] in ("all_reduce", "reduce", "reduce_scatter")]
        assert averaged == ([[operation, name, width * whole * times]] if layout.processes > 1 else [])


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_step_exchanges_what_the_plan_says(measured: Measured, tmp_path: Path, layout: Layout) -> None:
    """To the byte, by operation and number format."""
    replicas = layout.processes // layout.pipeline
    stages = planned(layout, tmp_path)
    for rank, counted in enumerate(measured[layout]):
        expected = Counter[tuple[str, str]]()
        for message in stages[rank // replicas].collectives:
            name, _ = FORMATS[message.dtype]
            expected[message.operation, name] += message.in_step(MICRO_BATCHES // replicas)
        assert {(operation, name): size for operation, name, size in counted["exchanged"]} == expected


def test_the_backward_pass_under_zero_3_keeps_no_gathered_weight(measured: Measured) -> None:
    assert [held["kept"] for held in measured[Layout(2, 1, 3, "bf16")]] == [0, 0]


def written(home: Path, layout: Layout) -> Path:
    """The configuration of a layout, in a file."""
    sequences = 2 * (1 if layout in LONG else MICRO_BATCHES)
    settings = {
        "run": {"dir": str(home / "run")},
        "data": {"tokens": str(home / "tokens")},
        "model": MODEL | {"n_ctx": layout.n_ctx},
        "optimizer": {"lr": 0.01},
        "batch": {
            "global_batch_size": sequences,
            "micro_batch_size": 2,
            "batch_size_multiple": sequences,
        },
        "parallel": {
            "pipeline_stages": layout.pipeline,
            "zero_stage": layout.zero,
            "reduce_dtype": layout.reduce_dtype,
            "activation_checkpointing": layout.checkpointing,
        },
        "train": {"tokens": 256 * layout.n_ctx, "eval_sequences": sequences, "precision": layout.precision},
    }
    path = home / f"{'-'.join(map(str, layout))}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def measure(home: Path, configs: list[Path], processes: int) -> list[list[dict[str, Any]]]:
    """Start real ranks; for each configuration, what each of them held and exchanged."""
    ranks = Ranks(home, list(map(str, configs)), [{}] * processes, "support.workers.measuring")
    assert ranks.wait() == [0] * processes, ranks.told()[-3000:]
    by_rank = [[json.loads(line) for line in ranks.reported(rank).splitlines()] for rank in range(processes)]
    return [list(of_ranks) for of_ranks in zip(*by_rank, strict=True)]


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_counted_layer_by_layer(name: str) -> None:
    with torch.device("meta"):
        model = GPT(PRESETS[name])
    layers = layer_costs(PRESETS[name])
    held = {layer.name: 0 for layer in layers}
    for path, parameter in model.named_parameters():
        owner = next(layer for layer in held if path.startswith(f"{layer}."))
        held[owner] += parameter.numel()
    assert all(sum(layer_tensors(PRESETS[name], layer)) == count for layer, count in held.items() if count)
    assert stage_parameters(PRESETS[name], layers) == sum(held.values())
    unpadded = PRESETS[name].padded_vocab_size - PRESETS[name].vocab_size
    assert parameters(PRESETS[name]) == sum(held.values()) - unpadded * PRESETS[name].d_model


def test_a_tied_matrix_stands_on_both_ends_of_a_pipeline() -> None:
    model = GPTConfig(**MODEL)
    whole = stage_parameters(model, layer_costs(model))
    ends = sum(
        stage_parameters(model, layers)
        for layers in stages_of(model, ParallelLayout(pipeline=2, data=1, zero=1, micro=1))
    )
    assert ends - whole == sum(layer_tensors(model, "wte"))


@pytest.mark.parametrize("fields", [{}, {"attention": ("banded:32",)}, {"norm": "post"}, {"d_head": 48}])
@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_a_block_keeps_the_activations_that_are_counted(
    fields: dict[str, Any], dtype: torch.dtype, width: int
) -> None:
    model = GPTConfig(n_layer=1, n_head=4, d_model=128, n_ctx=256, vocab_size=64, **fields)
    block = Block(model, 0).to(dtype)
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(2, model.n_ctx, model.d_model, dtype=dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = block(x)
    assert out.shape == x.shape
    tokens = 2 * model.n_ctx
    assert sum(kept.values()) / tokens == pytest.approx(block_activation_bytes(model, 0, width), rel=0.01)


def test_more_replicas_share_the_optimizer_out_and_nothing_else() -> None:
    model = GPTConfig(**MODEL)
    stages = [layer_costs(model)]
    one, four = (
        stage_bytes(
            model,
            stages,
            0,
            ParallelLayout(pipeline=1, data=n, zero=1, micro=2),
            in_flight=1,
            precision="bf16",
        )
        for n in (1, 4)
    )
    assert four.optimizer == one.optimizer / 4
    assert dataclasses.replace(four, optimizer=0, buffers=0) == dataclasses.replace(
        one, optimizer=0, buffers=0
    )
