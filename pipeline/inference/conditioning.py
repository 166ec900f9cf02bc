"""Tasks that a language model does when its prompt has the right form, as GPT-2's paper found them.

Radford et al. 2019, sections 3.5 to 3.8. The formats are those that `outbound eval` asks with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UsageError
from pipeline.inference.fitting import Reader, fit, fit_article
from pipeline.inference.sentences import sentences

HINT = "\nTL;DR:"
SUMMARY: dict[str, Any] = {"max_tokens": 100, "top_k": 2}
"""How GPT-2 wrote its summaries (section 3.6)."""
SENTENCES = 3
"""Sentences of a summary."""

PAIRS = (
    ("The cat sleeps on the chair.", "Le chat dort sur la chaise."),
    ("We will arrive tomorrow morning.", "Nous arriverons demain matin."),
    ("How much does this book cost?", "Combien coûte ce livre ?"),
    ("She has lived in this town for ten years.", "Elle vit dans cette ville depuis dix ans."),
    ("I do not know where the keys are.", "Je ne sais pas où sont les clés."),
)
"""English and French. The paper prints none of its pairs."""
ANSWERED = (
    ("What is the capital of Italy?", "Rome"),
    ("Who wrote Hamlet?", "William Shakespeare"),
    ("How many days are in a week?", "Seven"),
    ("Which planet is nearest to the sun?", "Mercury"),
    ("In which year did the Second World War end?", "1945"),
)
"""Questions and answers. The paper prints none of its own."""


def translation(sentence: str) -> str:
    """The last line of a prompt that has a sentence translated: pairs of the same form stand before it.

    >>> translation("Good morning.")
    'Good morning. ='
    """
    return f"{sentence} ="


def asked(question: str) -> str:
    """A question as GPT-3's figures print it (Brown et al. 2020, appendix G).

    >>> asked("Who barks?")
    'Q: Who barks?\\n\\nA:'
    """
    return f"Q: {question}\n\nA:"


def question(text: str) -> str:
    """A question with the capital and the question mark that it may lack.

    >>> question("who barks")
    'Who barks?'
    """
    return f"{text[:1].upper()}{text[1:]}{'?' if text[-1:].isalnum() else ''}"


def first_sentence(text: str) -> str:
    """The first sentence that was written: GPT-2's translation (section 3.7)."""
    return (sentences(text) or [""])[0]


def summary(text: str) -> list[str]:
    """The first three sentences that were written: GPT-2's summary (section 3.6)."""
    return sentences(text)[:SENTENCES]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What stands round a text, how the model then writes, and what counts of it.

    prompt: of a model, a text and the tokens to leave free. settings: fields of `Settings`. stops: strings
    before which the text ends, beside those of the settings. cut: what counts of the text.
    """

    about: str
    prompt: Callable[[Reader, str, int], str]
    settings: dict[str, Any]
    cut: Callable[[str], str]
    stops: tuple[str, ...] = ()


def named(name: str) -> Task:
    """One of TASKS. Raises UsageError for another name."""
    if name not in TASKS:
        raise UsageError(f"task {name}: choose from {', '.join(TASKS)}")
    return TASKS[name]


def _translated(pairs: Sequence[tuple[str, str]]) -> Callable[[Reader, str, int], str]:
    shown = [f"{translation(source)} {target}" for source, target in pairs]
    # A pair is a line, and so is the sentence.
    return lambda model, text, room: fit(
        model, shown, translation(" ".join(text.split())), room, delimiter="\n"
    )[0]


def _answered(model: Reader, text: str, room: int) -> str:
    passage, _, last = text.strip().rpartition("\n")
    if passage:  # sections 3.5: a text, and what is asked about it
        return f"{passage.rstrip()}\n\n{asked(question(last))}"
    shown = [f"{asked(each)} {answer}" for each, answer in ANSWERED]
    return fit(model, shown, asked(question(last)), room)[0]


TASKS = {
    "translate-fr-en": Task(
        about="French to English: 5 pairs of sentences, greedy, the first sentence",
        prompt=_translated([(french, english) for english, french in PAIRS]),
        settings={"temperature": 0.0, "max_tokens": 256},
        stops=("\n",),
        cut=first_sentence,
    ),
    "translate-en-fr": Task(
        about="English to French, likewise",
        prompt=_translated(PAIRS),
        settings={"temperature": 0.0, "max_tokens": 256},
        stops=("\n",),
        cut=first_sentence,
    ),
    "summarize": Task(
        about='a text and "TL;DR:", 100 tokens, top-k 2, the first 3 sentences',
        prompt=lambda model, text, room: fit_article(model, text.rstrip(), HINT, room),
        settings=SUMMARY | {"temperature": 1.0},
        cut=lambda text: "\n".join(summary(text)),
    ),
    "answer": Task(
        about="a question after 5 answered ones, or after a text, whose last line it is; greedy, one line",
        prompt=_answered,
        settings={"temperature": 0.0, "max_tokens": 64},
        stops=("\n",),
        cut=str.strip,
    ),
}
