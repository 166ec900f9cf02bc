"""WikiText, LAMBADA and arithmetic as they were published."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprep.tokenizer import tokenizer
from pipeline.eval.asking import AskedModel
from pipeline.eval.engines import completions, lambada, language
from pipeline.eval.requests import Answer
from pipeline.eval.sets import language as sets
from pipeline.eval.sets import synthetic
from support.evaluation import ask, examples, measured
from support.oracles import Knowing, Uniform


@pytest.mark.slow(5)
def test_every_line_of_wikitext_2_follows_from_its_text(data: Path) -> None:
    articles = list(sets.wikitext([data / "lm" / "wikitext2.valid.txt"], data))
    assert len(articles) == 60
    asked = ask("wikitext2_valid", "paper", articles)
    documents = language.evaluate(asked, Uniform(256, n_ctx=1024))
    assert sum(document.values["perplexity"][1] for document in documents) == 217_646  # Merity et al. 2017
    assert measured(documents, "lines_as_they_stand") == 0


def test_a_model_that_knows_lambada_and_arithmetic_has_all_of_it_right(data: Path) -> None:
    passages = list(sets.lambada([data / "evals" / "lambada_sample.jsonl"], data))
    model = Knowing([example.row["text"] for example in passages])
    assert measured(lambada.evaluate(ask("lambada", "gpt3", passages), model), "acc") == 1
    asked = ask("lambada", "gpt3", passages, shots=15)
    assert {document.shown for document in lambada.evaluate(asked, model)} == {15}

    for file in sorted((data / "evals" / "gpt3_arithmetic").glob("*.jsonl")):
        lines = list(synthetic.completions([file], data))
        assert len(lines) == 1000
        few = lines[:100]
        model = Knowing([(line.row["context"] + line.row["completion"]).lstrip("\n") for line in few])
        assert measured(completions.evaluate(ask("arithmetic_2da", "paper", few), model), "acc") == 1


def test_gpt1s_words_pass_the_stop_word_filter_though_its_tokens_have_no_spaces(data: Path) -> None:
    tokens = tokenizer.load(data / "gpt1-bpe")
    likely = tuple((tokens.encode(word)[0], -1.0) for word in ("her", ".", "dog"))
    model = AskedModel(tokens, 512, lambda request: Answer(key=request.key, likeliest=likely))
    passages = examples([{"text": f"He fed the {word}"} for word in ("Dog", "cat")])
    documents = lambada.evaluate(ask("lambada", "gpt2", passages), model)
    assert [document.values["acc_filtered"][0] for document in documents] == [1, 0]
