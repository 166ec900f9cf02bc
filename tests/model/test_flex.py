"""FlexAttention is used where it computes the same, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model import GPT
from model.attention import Attention, banded_attention
from model.flex import FlexKernel, install_kernel

Make = Callable[..., GPT]


def kernels(model: GPT) -> list[object]:
    return [part.banded for part in model.modules() if isinstance(part, Attention)]


@pytest.mark.slow(1)
@pytest.mark.parametrize("time", [24, 200])
def test_flex_attention_computes_the_band(time: int) -> None:
    """Its forward pass, uncompiled: a CPU has no more."""
    q, k, v = torch.randn(3, 2, 3, time, 16)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        torch.testing.assert_close(FlexKernel()(q, k, v, 7), banded_attention(q, k, v, 7))


def test_on_a_cpu_flex_attention_is_dropped_since_it_has_no_backward(make_model: Make) -> None:
    model = make_model(attention=("dense", "banded:5"))
    with torch.compiler.set_stance("force_eager"):
        reason = install_kernel(model, 24, FlexKernel())
    assert reason is not None
    assert "does not support backward on CPU" in reason
    assert kernels(model) == [banded_attention] * 3


def masked(q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
    """Another kernel for the same band."""
    places = torch.arange(q.size(2))
    distance = places[:, None] - places
    return F.scaled_dot_product_attention(q, k, v, attn_mask=(distance >= 0) & (distance < band))


def test_a_kernel_that_computes_the_same_is_used_in_banded_layers_only(make_model: Make) -> None:
    plain, other = (make_model(attention=("dense", "banded:5")) for _ in range(2))
    assert install_kernel(other, 24, masked) is None
    assert kernels(other) == [banded_attention, masked, banded_attention]
    tokens = torch.randint(61, (2, 24))
    torch.testing.assert_close(other(tokens), plain(tokens))


def a_token_too_far(q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
    return banded_attention(q, k, v, band + 1)


def no_gradient_for_keys(q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
    return banded_attention(q, 0 * k + k.detach(), v, band)


def not_a_number(q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
    return banded_attention(q, k, v, band) * torch.nan


def no_compiler(q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
    raise NotImplementedError("no backward on this device\nand a long story")


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (a_token_too_far, "its output differs by"),
        (no_gradient_for_keys, "the key's gradient differs by"),
        (not_a_number, "its output differs by nan"),
        (no_compiler, "NotImplementedError: no backward on this device"),
    ],
)
def test_a_kernel_that_differs_is_dropped_and_the_reason_named(
    make_model: Make, kernel: Callable[..., Tensor], said: str
) -> None:
    model = make_model(attention=("dense", "banded:5"))
    reason = install_kernel(model, 24, kernel)
    assert reason is not None
    assert reason.startswith(said)
    assert kernels(model) == [banded_attention] * 3


def test_flex_attention_is_not_used_with_dropout(make_model: Make) -> None:
    model = make_model(attention=("dense", "banded:5"), dropout=0.1)
    reason = install_kernel(model, 24, FlexKernel())
    assert reason == "ValueError: FlexAttention has no dropout, and model.dropout is 0.1"


def test_a_dense_model_has_nothing_to_adopt(make_model: Make) -> None:
    model = make_model()
    assert install_kernel(model, 24, no_compiler) is None
    assert kernels(model) == [banded_attention] * 3
