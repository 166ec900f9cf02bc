"""Check a replacement kernel against the reference at start: output and gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LARGEST_ERROR = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}
"""Share of the largest value by which output and gradients may differ: some units of the last place."""


def standard_normal(like: Tensor, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Return standard normal tensors, the same every time, in the dtype and on the device of `like`."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(like) for shape in shapes]


def difference(
    reference: Callable[..., Tensor], other: Callable[..., Tensor], inputs: dict[str, Tensor], grad: Tensor
) -> str | None:
    """Return how another computation's output or gradients differ, or its error; None when it may be used.

    The reference computes in fp32: its own rounding is no fault of the other's.

    inputs: what both take, by the names to call them. grad: of the loss by the output, in its shape.
    """
    exact = {name: value.detach().float().requires_grad_() for name, value in inputs.items()}
    expected = _computed(reference, exact, grad.float())
    try:
        found = _computed(other, inputs, grad)
    except Exception as error:  # whatever a compiler raises: the model works without it
        error = getattr(error, "inner_exception", error)  # what torch.compile wraps
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    for name, ours in expected.items():
        difference = float((ours - found[name]).abs().max() / ours.abs().max())
        if not difference <= LARGEST_ERROR[found[name].dtype]:  # a NaN is a difference
            return f"{name} differs by {difference:.1e} of the largest value"
    return None


def _computed(compute: Callable[..., Tensor], inputs: dict[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
    output = compute(*inputs.values())
    gradients = torch.autograd.grad(output, list(inputs.values()), grad)
    names = (f"{name}'s gradient" for name in inputs)
    return {"its output": output.detach(), **dict(zip(names, gradients, strict=True))}
