"""A tied matrix gets the sum of its two gradients, and no other tensor of its size is made for that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model import GPT
from model.tied_gradient import embed

TOKENS = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(0))
TOKENS[:, 5:9] = 7  # some come often


def by_autograd(model: GPT, tokens: Tensor) -> dict[str, Tensor]:
    """Gradients of the same loss where nothing is shared: whole logits, two gradients of the matrix."""
    logits = model(tokens[:, :-1])[..., :61]
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_every_gradient_is_autograds(make_model: Callable[..., GPT], norm: str) -> None:
    model = make_model(norm=norm).double()
    model(TOKENS[:, :-1], TOKENS[:, 1:]).backward()
    for name, expected in by_autograd(model, TOKENS).items():
        torch.testing.assert_close(model.get_parameter(name).grad, expected, rtol=1e-10, atol=1e-12)


def test_micro_batches_add_up(make_model: Callable[..., GPT]) -> None:
    model = make_model().double()
    for row in TOKENS:
        (model(row[None, :-1], row[None, 1:]) / len(TOKENS)).backward()
    expected = by_autograd(model, TOKENS)["wte.weight"]
    torch.testing.assert_close(model.wte.weight.grad, expected, rtol=1e-10, atol=1e-12)


def test_in_bfloat16_a_frequent_token_loses_no_more_than_by_autograd(make_model: Callable[..., GPT]) -> None:
    exact = by_autograd(make_model().bfloat16().double(), TOKENS)["wte.weight"]
    model = make_model().bfloat16()
    errors = [
        float((gradient.double() - exact).norm() / exact.norm())
        for gradient in (
            by_autograd(model, TOKENS)["wte.weight"],
            *torch.autograd.grad(model(TOKENS[:, :-1], TOKENS[:, 1:]), [model.wte.weight]),
        )
    ]
    assert errors[1] < 1.2 * errors[0]


def test_the_backward_pass_makes_no_tensor_of_the_matrixs_size(make_model: Callable[..., GPT]) -> None:
    model = make_model()
    size = model.wte.weight.numel()
    loss = model(TOKENS[:, :-1], TOKENS[:, 1:])
    with Made() as made:
        loss.backward()
    assert size not in made.sizes, "the head made its gradient in the forward pass"
    with Made() as made:
        by_autograd(model, TOKENS)
    assert size in made.sizes


def test_the_path_keeps_no_weights_alive(model: GPT) -> None:
    weight = model.wte.weight
    _, path = embed(TOKENS, weight)
    assert path.shape == weight.shape
    assert path.untyped_storage().nbytes() == weight.element_size()
    assert path.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()


class Made(TorchDispatchMode):
    """Notes the sizes of the tensors that operations return in memory that none of their arguments has."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given = {x.untyped_storage().data_ptr() for x in args if isinstance(x, Tensor)}
        out = func(*args, **kwargs or {})
        if isinstance(out, Tensor) and out.untyped_storage().data_ptr() not in given:
            self.sizes.add(out.numel())
        return out
