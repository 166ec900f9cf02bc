"""The layout for decoding: the same numbers, of which only the matrices are copies."""

from __future__ import annotations

import torch

from model import GPT
from model.generate import Sampling, generate
from model.layout import for_decoding


def test_it_computes_the_same_and_copies_only_matrices(model: GPT) -> None:
    tokens = torch.randint(61, (2, 24))
    before = model(tokens)
    copy = for_decoding(model)
    torch.testing.assert_close(copy(tokens), before)
    assert torch.equal(model(tokens), before)
    assert copy.wte.weight is model.wte.weight
    assert copy.h[0].mlp.fc.bias is model.h[0].mlp.fc.bias
    assert copy.head is not None
    for matrix in (copy.head.weight, copy.h[1].attn.qkv.weight):
        assert matrix.T.is_contiguous()


def test_texts_are_the_same(model: GPT) -> None:
    prompts, greedy = [[3], [1, 4, 1, 5], [7] * 20], Sampling(temperature=0)
    assert generate(for_decoding(model), prompts, 12, greedy) == generate(model, prompts, 12, greedy)


def test_other_types_than_fp32_stay_as_they_are(model: GPT) -> None:
    assert for_decoding(model.double()) is model
