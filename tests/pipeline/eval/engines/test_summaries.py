"""Articles are summarised after "TL;DR:", and compared with their first and with random sentences."""

from __future__ import annotations

import pytest

from pipeline.eval.requests import Writing
from support.evaluation import example, measured, run
from support.oracles import Writer

ARTICLE = "A cat sat on a mat. The dog barked loudly. Nobody came home. It rained for days. The end was near."
HIGHLIGHTS = "A cat sat on a mat.\nNobody came home.\nIt rained for days."
EXAMPLES = [example({"article": ARTICLE, "highlights": HIGHLIGHTS}, str(n)) for n in range(4)]


def test_the_hint_follows_the_article_and_100_tokens_are_drawn_from_the_likeliest_two() -> None:
    run("cnn_dailymail", "paper", model := Writer(), EXAMPLES[:1])
    assert model.asked == [(f"{ARTICLE}\nTL;DR:", Writing(max_tokens=100, top_k=2, seed=0))]


def test_an_article_that_is_too_long_loses_its_last_sentences() -> None:
    run("cnn_dailymail", "paper", model := Writer(n_ctx=100 + 16), EXAMPLES[:1])
    assert model.asked[0][0] == "A cat sat on a mat. The dog barked loudly. Nobody came home.\nTL;DR:"
    run("cnn_dailymail", "paper", model := Writer(n_ctx=101), EXAMPLES[:1])
    assert model.asked[0][0] == "A cat sat on a mat.\nTL;DR:"


def test_the_first_three_sentences_are_the_summary() -> None:
    text = " A cat sat on a mat. Nobody came home.\nIt rained for days. And more follows."
    (document,) = run("cnn_dailymail", "paper", Writer(lambda prompt: text), EXAMPLES[:1])
    assert document.sample["answer"] == HIGHLIGHTS
    assert document.values["rouge1"] == document.values["rougeLsum"] == [1, 1]


def test_the_baselines_are_measured_beside_a_silent_model() -> None:
    documents = run("cnn_dailymail", "paper", Writer(), EXAMPLES)
    assert measured(documents, "rouge1") == 0
    # 9 of its 13 words are among the 13 of the highlights: not those of "The dog barked loudly".
    assert measured(documents, "rouge1_lead3") == pytest.approx(2 * 9 / (13 + 13))
    again = run("cnn_dailymail", "paper", Writer(lambda prompt: "x"), EXAMPLES)
    random = [each.values["rouge1_random3"] for each in documents]
    assert [each.values["rouge1_random3"] for each in again] == random
    assert len({tuple(each) for each in random}) > 1
