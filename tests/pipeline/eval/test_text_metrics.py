"""The metrics of written texts are those of the sets' own scripts, of sacrebleu and of rouge-score."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.eval import text_metrics
from pipeline.eval.measures import MEASURES
from support.published_scripts import lm_eval_script

WORDS = "the a An cat cats sat, on mat. 3 3.0 1,000 ran running U.S. well-known 'quoted' café".split()


def texts(seed: int, n: int, longest: int = 12) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, longest))) for _ in range(n)]


PAIRS = list(zip(texts(0, 50), texts(1, 50), strict=True))


@pytest.mark.parametrize(
    ("written", "answer", "exact", "f1"),
    [
        ("The cat", "a cat!", 1, 1),
        ("cat sat", "cat", 0, 2 / 3),
        ("cat cat", "cat", 0, 2 / 3),
        ("Cat-sat", "catsat", 1, 1),
        ("", "the", 1, 1),
        ("cat", "the", 0, 0),
        ("dog", "cat", 0, 0),
    ],
)
def test_words_are_compared_as_squad_s_script_does(
    written: str, answer: str, exact: float, f1: float
) -> None:
    assert text_metrics.exact(written, answer) == exact
    assert text_metrics.f1(written, answer) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("written", "answers", "expected"),
    [
        ("cat", ["the dog", "the cat"], (1, 1)),
        ("", [], (1, 1)),
        ("cat", [], (0, 0)),
        ("", ["the"], (1, 1)),
        ("", ["cat"], (0, 0)),
        ("a cat sat", ["cat", "the"], (0, 2 / 3)),
    ],
)
def test_the_right_text_of_a_question_without_answers_is_the_empty_one(
    written: str, answers: list[str], expected: tuple[float, float]
) -> None:
    assert text_metrics.squad2(written, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("written", "answers", "expected"),
    [
        ("white", ["white"], 1),
        ("white", ["white", "white", "black", "black"], 1),
        ("white", ["white", "black"], 1 / 2),  # without "white" it fits nothing
        ("white", ["white", "black", "red", "blue"], 3 / 4),
        ("white cat", ["white", "the white cat", "cat"], (1 + 2 / 3 + 1) / 3),
    ],
)
def test_coqa_leaves_out_each_answer_once(written: str, answers: list[str], expected: float) -> None:
    assert text_metrics.coqa(written, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("written", "answers", "expected"),
    [
        ("CANNOTANSWER", ["CANNOTANSWER"], 1),
        ("CANNOTANSWER", ["CANNOTANSWER", "the cat"], 1),
        ("the cat", ["CANNOTANSWER", "the cat"], 0),
        ("the cat", ["CANNOTANSWER", "the cat", "a cat"], 1),
        ("CANNOTANSWER", ["the cat"], 0),
        ("", ["the cat"], 0),
        ("the cat", ["the cat", "dog"], None),  # people agree on nothing
        ("cat", ["white cat", "cat sat", "cat"], 1 - 1 / 9),
        # People agree to exactly 0.4.
        ("mat cat dog", ["cat us old old dog", "mat cat", "mat", "", "old"], 0.74),
    ],
)
def test_quac_leaves_out_questions_on_which_people_disagree(
    written: str, answers: list[str], expected: float | None
) -> None:
    assert text_metrics.quac(written, answers) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("written", "answers", "expected"),
    [
        ("4", [["4"]], (1, 1)),
        ("4.0 yards", [["4"]], (0, 0.67)),
        ("5 yards", [["4 yards"]], (0, 0)),  # no number of the answer
        ("1,000", [["1000"]], (1, 1)),
        ("the Well-Known cat", [["well known cat"]], (1, 1)),
        ("cat", [["cat", "dog"]], (0, 0.5)),
        ("cat dog", [["cat", "dog"]], (0, 0.33)),
        ("7 may 1990", [["", ""], ["7 May 1990"]], (1, 1)),
    ],
)
def test_drop_compares_numbers_and_aligns_spans(
    written: str, answers: list[list[str]], expected: tuple[float, float]
) -> None:
    assert text_metrics.drop(written, answers) == pytest.approx(expected)


def test_drop_s_numbers_are_those_of_its_published_script() -> None:
    published = lm_eval_script("drop/utils.py")
    for (written, first), second in zip(PAIRS, texts(2, 50), strict=True):
        for spans in ([first], [first, second]):
            if first.strip():
                assert text_metrics.drop(written, [spans]) == pytest.approx(
                    published.get_metrics([written], spans)
                )


def test_trivia_s_punctuation_parts_words() -> None:
    assert text_metrics.normalise_trivia("The Campbell-Bannerman’s") == "campbell bannerman s"
    assert text_metrics.normalise("The Campbell-Bannerman’s") == "campbellbannerman’s"


@pytest.mark.parametrize("part", [slice(0, 50), slice(0, 3), slice(7, 8), slice(20, 40)])
def test_bleu_of_summed_counts_is_sacrebleu_s(part: slice) -> None:
    from sacrebleu import corpus_bleu

    written, references = zip(*PAIRS[part], strict=True)
    sums = np.sum([text_metrics.bleu_sums(*pair) for pair in PAIRS[part]], axis=0)
    expected = corpus_bleu(list(written), [list(references)]).score
    assert MEASURES["bleu"].value(sums) == pytest.approx(expected, rel=1e-12)


def test_bleu_of_many_resamples_is_that_of_each() -> None:
    sums = np.array([text_metrics.bleu_sums(*pair) for pair in PAIRS])
    drawn = np.random.default_rng(0).integers(0, 4, (20, len(PAIRS)))
    value = MEASURES["bleu"].value
    assert value(drawn @ sums).tolist() == [float(value(weights @ sums)) for weights in drawn]
    assert value(np.zeros(10)) == 0
    assert text_metrics.bleu_signature().startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_rouge_is_rouge_score_s_with_the_stemmer() -> None:
    from rouge_score import rouge_scorer

    names = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names, use_stemmer=True)
    for written, reference in PAIRS:
        expected = {name: score.fmeasure for name, score in scorer.score(reference, written).items()}
        assert text_metrics.rouge(written, reference) == expected
    assert text_metrics.rouge("he was running", "he runs") == pytest.approx(
        {"rouge1": 0.8, "rouge2": 0, "rougeL": 0.8, "rougeLsum": 0.8}
    )
    moved = text_metrics.rouge("a cat sat\nthe dog ran", "the dog ran\na cat sat")
    assert (moved["rougeL"], moved["rougeLsum"]) == (pytest.approx(0.5), 1)


@pytest.mark.parametrize(
    ("measure", "sums", "value"),
    [
        # [true positives, false positives, false negatives]: 2 * 3 / (2 * 3 + 1 + 4)
        ("f1_binary", [3, 1, 4], 6 / 11),
        # of a second class none is found, and a third is neither there nor named
        ("f1_macro", [3, 1, 4, 0, 2, 5, 0, 0, 0], 6 / 11 / 3),
        ("mcc", [6, 3, 1, 2], (6 * 3 - 1 * 2) / (7 * 8 * 4 * 5) ** 0.5),
        ("mcc", [0, 9, 0, 0], 0),
        # [questions, confidence, right] of three bins: what is too sure in one does not make up for another
        ("ece", [4, 2.0, 3, 6, 5.0, 4, 0, 0, 0], (1 + 1) / 10),
        ("perplexity", [6.0, 3], np.exp(2)),
        ("byte_perplexity", [6.0, 3], np.exp(2)),
        ("acc", [3, 4], 0.75),
    ],
)
def test_measures_are_these_functions_of_sums(measure: str, sums: list[float], value: float) -> None:
    assert MEASURES[measure].value(np.array(sums, float)) == pytest.approx(value)
    assert MEASURES[measure].value(np.array([sums] * 2, float)) == pytest.approx(np.full(2, value))
