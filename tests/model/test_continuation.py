"""A text that is drawn token by token is the one that is drawn at once."""

from __future__ import annotations

from model import GPT
from model.continuation import Continuation
from model.generate import Sampling, generate


def test_it_has_the_tokens_of_generate_also_where_the_context_is_full(model: GPT) -> None:
    sampling = Sampling(temperature=0.9, top_k=20, seed=5)
    text = Continuation(model, [3, 1, 4], seed=5)
    assert [text.draw(sampling) for _ in range(40)] == generate(model, [[3, 1, 4]], 40, sampling)[0]
