"""Sentences are translated as GPT-2 and GPT-3 were asked to, and measured by sacrebleu's BLEU."""

from __future__ import annotations

import pytest

from support.evaluation import example, measured, run
from support.oracles import Writer

PAIRS = [
    ("The cat sat on the mat.", "Le chat est assis sur le tapis."),
    ("He saw Mr. Smith, then left.", "Il a vu M. Smith, puis il est parti."),
    ("It rains.", "Il pleut."),
]
EXAMPLES = [example({"translation": {"en": en, "fr": fr}}, str(n)) for n, (en, fr) in enumerate(PAIRS)]
TRAINING = [example({"translation": {"en": "Yes.", "fr": "Oui."}}, f"t{n}", "train") for n in range(2)]


@pytest.mark.parametrize(
    ("protocol", "shots", "prompt", "beams"),
    [
        ("gpt2", 0, "The cat sat on the mat. =", 1),
        ("gpt2", 2, "Yes. = Oui.\nYes. = Oui.\nThe cat sat on the mat. =", 1),
        ("gpt3", 0, "Q: What is the French translation of The cat sat on the mat. A:", 4),
        ("gpt3", 1, "Yes. = Oui.\nThe cat sat on the mat. =", 4),
    ],
)
def test_a_sentence_stands_as_in_the_papers(protocol: str, shots: int, prompt: str, beams: int) -> None:
    run("wmt14_en_fr", protocol, model := Writer(), EXAMPLES[:1], TRAINING, shots)
    ((asked, writing),) = model.asked
    assert (asked, writing.beams, writing.stops) == (prompt, beams, ("\n",))


def test_the_other_direction_asks_for_the_other_language() -> None:
    run("wmt14_fr_en", "gpt3", model := Writer(), EXAMPLES[:1])
    assert model.asked[0][0].startswith("Q: What is the English translation of Le chat")


def test_a_model_that_knows_the_sentences_has_100_and_a_silent_one_0() -> None:
    known = dict(PAIRS)

    def knows(prompt: str) -> str:
        return f" {known[prompt.removesuffix(' =')]} Et voilà.\nOui."

    documents = run("wmt14_en_fr", "gpt2", Writer(knows), EXAMPLES)
    assert measured(documents, "bleu") == pytest.approx(100)
    assert documents[0].sample["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    assert measured(run("wmt14_en_fr", "gpt2", Writer(), EXAMPLES), "bleu") == 0


def test_a_model_that_repeats_the_sentence_has_sacrebleu_s_value() -> None:
    from sacrebleu import corpus_bleu

    documents = run("wmt14_fr_en", "gpt2", Writer(lambda prompt: prompt.removesuffix(" =")), EXAMPLES)
    expected = corpus_bleu([fr for _, fr in PAIRS], [[en for en, _ in PAIRS]]).score
    assert 0 < expected < 100
    assert measured(documents, "bleu") == pytest.approx(expected)
