"""How well a written text fits the right one: the rules of the sets' own scripts, BLEU and ROUGE.

A function takes the written text and the right ones, and gives numbers whose sums over documents make a
measure (`measures.py`).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from pipeline.errors import RunError

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU

CANNOT_ANSWER = "CANNOTANSWER"
"""QuAC's answer to a question that its text does not answer."""

LOWEST_HUMAN_F1 = 0.4
"""QuAC's script leaves out questions whose human answers agree less than this."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_TO_SPACE = dict.fromkeys(map(ord, string.punctuation + "‘’´`"), " ")

Normalise = Callable[[str], str]


def normalise(text: str) -> str:
    """SQuAD's normalisation (evaluate-v2.0.py): lower case, no punctuation, no articles, single spaces.

    >>> normalise("The  U.S. Army, an army")
    'us army army'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def normalise_trivia(text: str) -> str:
    """TriviaQA's normalisation (triviaqa_evaluation.py): punctuation and more quotes become spaces.

    >>> normalise_trivia("Campbell-Bannerman’s the_man")
    'campbell bannerman s man'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_TO_SPACE)).split())


def exact(written: str, answer: str) -> float:
    """1.0 if both are the same once normalised, else 0.0."""
    return float(normalise(written) == normalise(answer))


def f1(written: str, answer: str) -> float:
    """F1 of the words that two texts share, once normalised; of empty texts, whether both are empty
    (SQuAD 2's and CoQA's scripts)."""
    ours, theirs = normalise(written).split(), normalise(answer).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return _harmonic_mean(shared / len(ours), shared / len(theirs))


def squad2(written: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1, the best over the answers (evaluate-v2.0.py).

    Answers that are empty once normalised do not count; without any, the right text is the empty one.
    """
    right = [answer for answer in answers if normalise(answer)] or [""]
    return max(exact(written, answer) for answer in right), max(f1(written, answer) for answer in right)


def coqa(written: str, answers: Sequence[str]) -> float:
    """CoQA's F1 (evaluate-v1.0.py): the best over all answers but one, averaged over the one left out.

    So a person is measured as a model is. One answer alone is simply compared.
    """
    return _leave_one_out([f1(written, answer) for answer in answers])


def quac(written: str, answers: Sequence[str]) -> float | None:
    """QuAC's F1 (scorer.py): as CoQA's, but "CANNOTANSWER" equals only itself.

    It is the one answer where at least half of the people gave it, else it does not count. None for a
    question whose people agree too little (LOWEST_HUMAN_F1).
    """
    spans = [answer for answer in answers if answer != CANNOT_ANSWER]
    if 2 * len(spans) <= len(answers):
        return float(written == CANNOT_ANSWER)
    human = sum(
        max((_overlap(span, other) for other in spans[:n] + spans[n + 1 :]), default=1.0)
        for n, span in enumerate(spans)
    )
    if human / len(spans) < LOWEST_HUMAN_F1:
        return None
    return _leave_one_out([_overlap(written, span) for span in spans])


def drop(written: str, answers: Sequence[Sequence[str]]) -> tuple[float, float]:
    """DROP's exact match and F1 (drop_eval.py), the best over the answers; an answer is one or more spans.

    What was written is one span, as that script takes a string. It is aligned with the span that it fits
    best; the others of that answer stay without a partner and count 0. F1 has two decimals.
    """
    ours = _drop_normalise(written)
    best = 0.0, 0.0
    for answer in answers:
        spans = [_drop_normalise(span) for span in answer]
        if answer[0].strip():
            scores = [_drop_f1(set(ours.split()), set(span.split())) for span in spans]
            best = max(best[0], float(spans == [ours])), max(best[1], round(max(scores) / len(spans), 2))
    return best


def bleu_sums(written: str, reference: str) -> list[float]:
    """What one segment adds to BLEU: its length and the reference's; n-grams that agree for n = 1 to 4; all
    its n-grams for n = 1 to 4. In tokens of sacrebleu's 13a."""
    score = _bleu().corpus_score([written], [[reference]])
    return [float(each) for each in (score.sys_len, score.ref_len, *score.counts, *score.totals)]


@cache
def bleu_signature() -> str:
    """sacrebleu's signature of this BLEU; it belongs beside every value."""
    bleu = _bleu()
    bleu.corpus_score(["a"], [["a"]])  # it knows the number of references only then
    return str(bleu.get_signature())


def rouge(written: str, reference: str) -> dict[str, float]:
    """F1 of ROUGE-1, ROUGE-2, ROUGE-L over the whole texts, and ROUGE-Lsum; with the stemmer.

    Lsum, which the papers on CNN/DailyMail call ROUGE-L, compares line by line: give one sentence a line.
    """
    return {name: score.fmeasure for name, score in _rouge().score(reference, written).items()}


def _harmonic_mean(precision: float, recall: float) -> float:
    """In the scripts' own order of operations: QuAC's threshold is met exactly by some questions."""
    return (2 * precision * recall) / (precision + recall) if precision + recall else 0.0


def _leave_one_out(scores: list[float]) -> float:
    if len(scores) == 1:
        return scores[0]
    return sum(max(scores[:n] + scores[n + 1 :]) for n in range(len(scores))) / len(scores)


def _overlap(written: str, span: str) -> float:
    """QuAC's F1 of two texts: 0.0 where no word is shared, so also of two empty ones."""
    return f1(written, span) if normalise(span) else 0.0


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _drop_normalise(text: str) -> str:
    """Lower case, numbers as floats, no punctuation in other words, no articles; hyphens part words."""
    words = []
    for word in re.split(" |-", text.lower()):
        bare = word if _is_number(word) else word.translate(_PUNCTUATION)
        words.append(_ARTICLES.sub(" ", str(float(bare)) if _is_number(bare) else bare))
    return " ".join(" ".join(words).split())


def _drop_f1(ours: set[str], theirs: set[str]) -> float:
    """F1 of two sets of words; 0.0 where the answer has numbers and none of them was written."""
    numbers = {word for word in theirs if _is_number(word)}
    if numbers and not numbers & ours:
        return 0.0
    precision = len(ours & theirs) / len(ours) if ours else 1.0
    recall = len(ours & theirs) / len(theirs) if theirs else 1.0
    return _harmonic_mean(precision, recall)


def _missing(package: str) -> RunError:
    return RunError(f'{package} is not installed; it comes with: pip install "outbound-gpt[eval]"')


@cache
def _bleu() -> BLEU:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise _missing("sacrebleu") from None
    return BLEU(tokenize="13a")


@cache
def _rouge() -> RougeScorer:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise _missing("rouge-score") from None
    return RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
