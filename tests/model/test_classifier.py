"""A classifier's dropout, as GPT-1's released code has it."""

from __future__ import annotations

import torch

from model import GPTConfig
from model.classifier import Classifier
from model.init import initialise


def test_all_answers_to_a_question_lose_the_same_values_of_their_states() -> None:
    config = GPTConfig(n_layer=1, n_head=2, d_model=16, n_ctx=8, vocab_size=20, dropout=0.5)
    model = Classifier(config, 1, choice=True)
    initialise(model.named_parameters(), config, seed=0)
    tokens = torch.tensor([[[1, 2, 3]] * 3, [[4, 5, 6]] * 3])
    lengths = torch.full((2, 3), 3)
    same = [7] * 6  # so that within the GPT, too, the answers lose the same values
    _, logits = model.train()(tokens, lengths, [*same, 8, 9])
    assert torch.equal(logits, logits[:, :1].expand(2, 3))
    _, others = model(tokens, lengths, [*same, 9, 9])
    assert not torch.equal(logits[0], others[0])
    assert torch.equal(logits[1], others[1])
