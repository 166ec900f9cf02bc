"""The planner's bytes are those of real processes, and of what torch keeps for the backward pass."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from model import GPT, PRESETS, GPTConfig
from model.block import Block
from pipeline.config import load_ahead
from pipeline.costs.hardware import Rates
from pipeline.costs.layers import layer_costs
from pipeline.costs.layout import ParallelLayout
from pipeline.costs.memory import block_activation_bytes, layer_tensors, stage_bytes, stage_parameters
from pipeline.costs.stages import stages_of
from pipeline.plan.predict import Cluster, parameters
from pipeline.plan.search import configured
from support.patience import patient

pytestmark = pytest.mark.slow(30)

MODEL = {"n_layer": 4, "n_head": 2, "d_model": 192, "n_ctx": 16, "vocab_size": 500}
"""Of its matrices, some are small enough for ZeRO-3 to keep whole, and some are shared out."""


LAYOUTS = {
    2: [
        (1, 0, "fp32"),
        (1, 1, "fp32"),
        (1, 1, "bf16"),
        (1, 2, "bf16"),
        (1, 3, "fp32"),
        (1, 3, "bf16"),
        (2, 1, "fp32"),
    ],
    4: [(2, 1, "bf16")],
}
"""By processes, so that they start twice: pipeline stages, ZeRO stage, precision."""

Measured = dict[tuple[int, int, int, str], list[dict[str, int]]]
"""Processes, pipeline stages, ZeRO stage and precision -> the bytes of each rank."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """What real ranks held in each layout."""
    found = {}
    for processes, layouts in LAYOUTS.items():
        home = tmp_path_factory.mktemp("layouts")
        paths = [written(home, *layout) for layout in layouts]
        told = measure(paths, processes)
        found |= {(processes, *layout): bytes_of for layout, bytes_of in zip(layouts, told, strict=True)}
    return found


@pytest.mark.parametrize(
    ("processes", "pipeline", "zero", "precision"),
    [(processes, *layout) for processes, layouts in LAYOUTS.items() for layout in layouts],
)
def test_bytes_of_real_ranks_are_as_planned(
    measured: Measured, tmp_path: Path, processes: int, pipeline: int, zero: int, precision: str
) -> None:
    rates = Rates(
        matrix_flops=1e11,
        attention_flops=1e11,
        memory_bytes=1e10,
        link_bytes=1e9,
        network_bytes=1e9,
        gpus_per_node=processes,
    )
    cluster = Cluster(
        name="cpu",
        nodes=1,
        gpus_per_node=processes,
        memory_bytes=2**34,
        peak_flops=1e11,
        rates=rates,
        precision=precision,
    )
    planned = configured(load_ahead(written(tmp_path, pipeline, zero, precision), []), cluster)
    assert not isinstance(planned, str)
    for rank, held in enumerate(measured[processes, pipeline, zero, precision]):
        expected = vars(planned.stages[rank // (processes // pipeline)].bytes)
        for kind in ("weights", "gradients", "optimizer"):
            assert held[kind] == pytest.approx(expected[kind], rel=0.01), f"{kind} of rank {rank}"
        assert held["buffers"] <= expected["buffers"]


def test_the_backward_pass_under_zero_3_keeps_no_gathered_weight(measured: Measured) -> None:
    assert [held["kept"] for held in measured[2, 1, 3, "bf16"]] == [0, 0]


def written(home: Path, pipeline: int, zero: int, precision: str) -> Path:
    """The configuration of a layout, in a file."""
    settings = {
        "run": {"dir": str(home / "run")},
        "data": {"tokens": str(home / "tokens")},
        "model": MODEL,
        "optimizer": {"lr": 0.01},
        "batch": {"global_batch_size": 16, "micro_batch_size": 2, "batch_size_multiple": 16},
        "parallel": {"pipeline_stages": pipeline, "zero_stage": zero},
        "train": {"tokens": 4096, "eval_sequences": 16, "precision": precision},
    }
    path = home / f"{pipeline}-{zero}-{precision}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def measure(configs: list[Path], processes: int) -> list[list[dict[str, int]]]:
    """Start real ranks of storages.py; for each configuration, what each of them held."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("storages.py")), *map(str, configs)],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[3]),
                **{key: str(value) for key, value in {**place, "RANK": rank, "LOCAL_RANK": rank}.items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(processes)
    ]
    told = [rank.communicate(timeout=patient()) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * processes, told[0][1].decode()[-3000:]
    by_rank = [[json.loads(line) for line in out.splitlines()] for out, _ in told]
    return [list(ranks) for ranks in zip(*by_rank, strict=True)]


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
