"""The head's loss in chunks is the plain one: same loss, same gradients, and no logits that stand whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import model.loss
from model import GPT
from model.loss import IGNORED, head_loss


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, vocab_size: int) -> Tensor:
    """The definition: all logits, without padding, then torch's cross-entropy in float32 or better."""
    logits = F.linear(hidden, weight[:vocab_size]).flatten(0, -2)
    precise = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(precise, targets.flatten(), reduction="sum") / targets.numel()


def case(tokens: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, int]:
    """Hidden states (2, tokens, 16), a matrix of 128 rows of which 61 are real, and targets."""
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(2, tokens, 16, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(128, 16, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(61, (2, tokens), generator=generator)
    return hidden, weight, targets, 61


@given(tokens=st.integers(1, 40), rows=st.integers(1, 90), ignored=st.integers(0, 30))
@settings(max_examples=60)
def test_any_chunks_give_the_plain_loss_and_gradients(tokens: int, rows: int, ignored: int) -> None:
    hidden, weight, targets, vocab_size = case(tokens)
    targets.view(-1)[:ignored] = IGNORED  # at times all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.loss, "LARGEST_CHUNK", rows * 128)
        found = 3 * head_loss(hidden, weight, targets, vocab_size)
    expected = 3 * plain(hidden, weight, targets, vocab_size)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    gradients = torch.autograd.grad(found, (hidden, weight))
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, (hidden, weight)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    assert not gradients[1][61:].any(), "no gradient reaches the padding"


def test_in_double_precision_nothing_is_rounded_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.loss, "LARGEST_CHUNK", 3 * 128)
    hidden, weight, targets, vocab_size = case(5, torch.float64)
    found, expected = (f(hidden, weight, targets, vocab_size) for f in (head_loss, plain))
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    gradients = torch.autograd.grad(found, (hidden, weight))
    torch.testing.assert_close(
        gradients, torch.autograd.grad(expected, (hidden, weight)), rtol=1e-12, atol=1e-13
    )


def test_bfloat16_is_added_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, targets, vocab_size = case(1200, torch.bfloat16)
    exact = plain(hidden.double(), weight.double(), targets, vocab_size)
    (expected,) = torch.autograd.grad(exact, weight)
    errors = {}
    for rows in (8, 10_000):
        monkeypatch.setattr(model.loss, "LARGEST_CHUNK", rows * 128)
        loss = head_loss(hidden, weight, targets, vocab_size)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact.item(), rel=1e-3)
        (gradient,) = torch.autograd.grad(loss, weight)
        assert gradient.dtype == torch.bfloat16
        errors[rows] = float((gradient.double() - expected).norm() / expected.norm())
    assert errors[8] < 1.1 * errors[10_000] < 0.02, "300 chunks lose no more than one"


def test_a_hopeless_token_that_is_left_out_stays_out() -> None:
    hidden, weight, targets, vocab_size = case(3)
    with torch.no_grad():
        hidden[0, 1] = 1e30  # its logits overflow
    targets[0, 1] = IGNORED
    assert head_loss(hidden, weight, targets, vocab_size).isfinite()


@pytest.mark.parametrize("rows", [2, 10_000])
def test_a_micro_batch_in_which_nothing_counts_is_zero_and_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(model.loss, "LARGEST_CHUNK", rows * 128)
    hidden, weight, targets, vocab_size = case(5)
    loss = head_loss(hidden, weight, torch.full_like(targets, IGNORED), vocab_size)
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, (hidden, weight)):
        assert not gradient.any()


@given(micro=st.sampled_from([1, 2, 3, 6]), forgotten=st.sets(st.integers(0, 23)))
def test_any_micro_batches_give_the_gradient_of_their_batch(micro: int, forgotten: set[int]) -> None:
    hidden, weight, _, vocab_size = case(12)  # two sequences of 12: as six of 4
    targets = torch.randint(61, (6, 4), generator=torch.Generator().manual_seed(micro))
    targets.view(-1)[sorted(forgotten)] = IGNORED
    whole = hidden.view(6, 4, 16)
    parts = zip(whole.split(micro), targets.split(micro), strict=True)
    losses = [head_loss(part, weight, wanted, vocab_size) for part, wanted in parts]
    found, expected = torch.stack(losses).mean(), plain(whole, weight, targets, vocab_size)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    ours, theirs = (torch.autograd.grad(loss, (hidden, weight)) for loss in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_without_gradients_wanted_none_are_computed() -> None:
    hidden, weight, targets, vocab_size = case(5)
    with torch.no_grad(), Products() as products:
        loss = head_loss(hidden, weight, targets, vocab_size)
    torch.testing.assert_close(loss, plain(hidden, weight, targets, vocab_size))
    assert products.count == 1, "logits, and no gradients"


def test_a_second_backward_is_an_error_and_never_another_gradient() -> None:
    loss = head_loss(*case(5))
    (2 * loss).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (2 * loss).backward()


def test_the_logits_of_a_long_batch_never_stand_whole(
    make_model: Callable[..., GPT], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.loss, "LARGEST_CHUNK", 64 * 1024)
    gpt = make_model(vocab_size=1000, n_ctx=256)
    tokens = torch.randint(1000, (4, 257))
    with Products() as products:
        gpt(tokens[:, :-1], tokens[:, 1:]).backward()
    assert products.widest <= 64 * 1024 < 4 * 256 * 1024
    whole = F.cross_entropy(gpt(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    chunked = gpt(tokens[:, :-1], tokens[:, 1:])
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-6)


class Products(TorchDispatchMode):
    """Counts matrix products, and the largest tensor with a column for each id of a padded vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.widest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **kwargs or {})
        self.count += func in (torch.ops.aten.mm.default, torch.ops.aten.mm.out, torch.ops.aten.addmm.default)
        if isinstance(out, Tensor) and out.dim() >= 2 and out.size(-1) in (1000, 1024):
            self.widest = max(self.widest, out.numel())
        return out
