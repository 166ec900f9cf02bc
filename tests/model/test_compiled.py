"""torch.compile is used where it computes the same, and nowhere else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from model import GPT
from model.block import Block
from model.compiled import compile_blocks

Make = Callable[..., GPT]
Graph = Callable[..., tuple[Tensor, ...]]


@pytest.fixture(autouse=True)
def nothing_is_compiled_yet() -> None:
    torch.compiler.reset()


def compiled_blocks(model: GPT) -> list[bool]:
    return ["forward" in vars(part) for part in model.modules() if isinstance(part, Block)]


@pytest.mark.slow(20)
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="a C++ compiler is not installed"
)
def test_compiled_blocks_compute_the_loss_and_its_gradients(make_model: Make) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    plain, compiled = make_model(n_layer=2), make_model(n_layer=2)
    inductor = CompileCounterWithBackend("inductor")
    assert compile_blocks(compiled, 1, 24, inductor) is None
    assert compiled_blocks(compiled) == [True, True]
    tokens, targets = torch.randint(61, (2, 1, 24))
    losses = [model(tokens, targets) for model in (plain, compiled)]
    torch.testing.assert_close(losses[1], losses[0])
    for loss in losses:
        loss.backward()
    assert inductor.frame_count == 1, "what was compared is what both blocks run"
    for (name, ours), (same, theirs) in zip(
        plain.named_parameters(), compiled.named_parameters(), strict=True
    ):
        assert name == same
        torch.testing.assert_close(theirs.grad, ours.grad)


@pytest.mark.slow(1)
def test_blocks_of_one_kind_are_compiled_once(make_model: Make) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    model = make_model(n_layer=6, attention=("dense", "banded:5"))
    counted = CompileCounterWithBackend("eager")
    assert compile_blocks(model, 2, 24, counted) is None
    model(torch.randint(61, (2, 24))).sum().backward()
    assert counted.frame_count == 2


def test_dropout_is_left_out_of_the_comparison_only(make_model: Make) -> None:
    model = make_model(dropout=0.5)
    assert compile_blocks(model, 1, 24, "eager") is None
    tokens = torch.randint(61, (1, 24))
    assert not torch.equal(model(tokens), model(tokens))


def a_thousandth_too_large(graph: Graph, inputs: Any) -> Graph:
    return lambda *given: tuple(1.001 * x for x in graph(*given))


def no_gradients(graph: Graph, inputs: Any) -> Graph:
    return lambda *given: graph(*(0 * x + x.detach() for x in given))


def not_a_number(graph: Graph, inputs: Any) -> Graph:
    return lambda *given: tuple(x * torch.nan for x in graph(*given))


def no_compiler(graph: Graph, inputs: Any) -> Graph:
    raise NotImplementedError("no kernels for this device\nand a long story")


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (a_thousandth_too_large, "its output differs by 1.0e-03 of the largest value"),
        (no_gradients, "its input's gradient differs by 1.0e+00 of the largest value"),
        (not_a_number, "its output differs by nan of the largest value"),
        (no_compiler, "NotImplementedError: no kernels for this device"),
    ],
)
def test_what_compiles_otherwise_is_dropped_and_the_reason_named(
    make_model: Make, backend: Callable[..., Graph], said: str
) -> None:
    model = make_model()
    assert compile_blocks(model, 1, 24, backend) == said
    assert compiled_blocks(model) == [False] * 3
