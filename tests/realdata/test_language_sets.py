"""WikiText, LAMBADA and arithmetic as they were published."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.eval.engines import completions, lambada, language
from pipeline.eval.sets import language as sets
from pipeline.eval.sets import synthetic
from support.eval_tasks import ask, measure
from support.oracles import Knowing, Uniform


@pytest.mark.slow(5)
def test_every_line_of_wikitext_2_follows_from_its_text(data: Path) -> None:
    examples = list(sets.wikitext([data / "lm" / "wikitext2.valid.txt"], data))
    assert len(examples) == 60  # articles
    asked = ask("wikitext2_valid", "paper", examples)
    documents = language.evaluate(asked, Uniform(256, n_ctx=1024))
    assert sum(document.values["perplexity"][1] for document in documents) == 217_646  # Merity et al. 2017
    assert measure("lines_as_they_stand", documents) == 0


def test_a_model_that_knows_lambada_and_arithmetic_has_all_of_it_right(data: Path) -> None:
    passages = list(sets.lambada([data / "evals" / "lambada_sample.jsonl"], data))
    model = Knowing([example.row["text"] for example in passages])
    assert measure("acc", lambada.evaluate(ask("lambada", "gpt3", passages), model)) == 1
    asked = ask("lambada", "gpt3", passages, shots=15)
    assert {document.shown for document in lambada.evaluate(asked, model)} == {15}

    for file in sorted((data / "evals" / "gpt3_arithmetic").glob("*.jsonl")):
        lines = list(synthetic.completions([file], data))
        assert len(lines) == 1000
        few = lines[:100]
        model = Knowing([(line.row["context"] + line.row["completion"]).lstrip("\n") for line in few])
        assert measure("acc", completions.evaluate(ask("arithmetic_2da", "paper", few), model)) == 1
