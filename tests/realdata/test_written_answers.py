"""A model that knows real questions and sentences is right on each, and an echo is measured as elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.eval.sets.answers import natural_questions, triviaqa
from pipeline.eval.sets.parallel import parallel
from pipeline.eval.text_metrics import normalise_trivia
from support.evaluation import measured, run
from support.oracles import Writer

SHOTS = 8


@pytest.fixture(scope="module")
def sets(data: Path) -> Path:
    return data / "evals"


def test_a_model_that_knows_natural_questions_is_right_on_all(sets: Path) -> None:
    examples = list(natural_questions([sets / "nq_open_dev.jsonl.gz"], sets))
    assert len(examples) == 3610
    right = iter([example.row["answer"][-1] for example in examples])
    model = Writer(lambda prompt: f" {next(right)}\n\nQ: and so on")
    documents = run("natural_questions", "gpt3", model, examples, examples, SHOTS)
    assert measured(documents, "em") == 1
    assert {each.shown for each in documents} == {SHOTS}
    silent = run("natural_questions", "gpt3", Writer(), examples)
    assert measured(silent, "em") == 0


def test_the_normalised_aliases_of_trivia_are_what_the_aliases_give(sets: Path) -> None:
    examples = list(triviaqa([sets / "triviaqa_wiki_val.jsonl.gz"], sets))
    assert len({example.key for example in examples}) == 1500
    ours, theirs = 0, 0
    for example in examples:
        answer = example.row["answer"]
        own = {normalise_trivia(alias) for alias in [answer["value"], *answer["aliases"]]}
        ours += len(own)
        theirs += len(own & {*answer["normalized_aliases"]})
    assert (ours, theirs) == (20_420, 20_419)  # "+-*/" normalises to nothing


def test_a_model_that_knows_trivia_is_right_on_all(sets: Path) -> None:
    examples = list(triviaqa([sets / "triviaqa_wiki_val.jsonl.gz"], sets))
    right = iter([example.row["answer"]["aliases"][-1] for example in examples])
    documents = run("triviaqa", "paper", Writer(lambda prompt: f" {next(right)}."), examples, examples, SHOTS)
    assert measured(documents, "em") == 1


def test_sentences_that_are_repeated_have_sacrebleu_s_value(sets: Path) -> None:
    from sacrebleu import corpus_bleu

    examples = list(parallel([sets / "newstest2013.eng", sets / "newstest2013.fra"], sets))
    assert len(examples) == 3000
    assert examples[0].row["translation"] == {
        "en": "A Republican strategy to counter the re-election of Obama",
        "fr": "Une stratégie républicaine pour contrer la réélection d'Obama",
    }
    some = examples[:300]

    def echo(prompt: str) -> str:
        return prompt.removesuffix(" A:").partition(" translation of ")[2]

    documents = run("wmt13_en_fr", "gpt3", Writer(echo), some)
    english, french = ([each.row["translation"][side] for each in some] for side in ("en", "fr"))
    assert measured(documents, "bleu") == pytest.approx(corpus_bleu(english, [french]).score, rel=1e-9)
    known = dict(zip(english, french, strict=True))
    documents = run("wmt13_en_fr", "gpt3", Writer(lambda prompt: known[echo(prompt)]), some, some, 0)
    assert measured(documents, "bleu") == pytest.approx(100)
