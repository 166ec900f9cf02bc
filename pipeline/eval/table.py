"""Scores in words and as a table, as the papers print them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.table import Table

from pipeline.monitor.evaluations import ModelFacts, Results, Score

NAMED = ("task", "shots", "protocol", "measure")
COLUMNS = (*NAMED, "value", "95 %", "n", "clean", "papers")
LEFT_OUT = ("ece", "ties", "lines_as_they_stand")
"""Measures that the terminal does not show: they describe another score."""
SHARES = ("acc", "em", "exact_match", "f1", "rouge", "ties", "male_leaning", "lines_as_they_stand")
"""Beginnings of the names of measures that are shares, which papers print in percent."""
UNCHECKED = "*: this published value is from memory or from another's copy"


def table(results: Results) -> Table:
    """The scores for a terminal; columns in which nothing stands are left out."""
    scores = [score for score in results.scores if score.measure not in LEFT_OUT]
    rows = [_row(score) for score in scores]
    kept = [column for column in COLUMNS if column in NAMED or any(row[column] for row in rows)]
    notes = "\n".join(_notes(results, scores)) or None
    shown = Table(title=titled(results.model), caption=notes, box=SIMPLE, pad_edge=False)
    for column in kept:
        shown.add_column(column, justify="left" if column in NAMED else "right", overflow="fold")
    for score, row in zip(scores, rows, strict=True):
        shown.add_row(*(row[column] for column in kept), style=None if score.main else "dim")
    return shown


def _notes(results: Results, scores: Sequence[Score]) -> Iterator[str]:
    """What a reader of the table must know."""
    if has_unchecked(scores):
        yield UNCHECKED
    scored = {score.task for score in results.scores}
    if texts := [task for task in results.tasks if task not in scored]:
        yield f"texts without a score, see the report: {', '.join(texts)}"


def _row(score: Score) -> dict[str, str]:
    """The cells of a score by column."""
    between = f"{printed(score.measure, score.low)} - {printed(score.measure, score.high)}"
    return {
        "task": score.task,
        "shots": str(score.shots),
        "protocol": score.protocol,
        "measure": score.measure,
        "value": printed(score.measure, score.value),
        "95 %": between if score.low is not None else "",
        "n": f"{score.n:,}",
        "clean": printed(score.measure, score.clean.value) if score.clean else "",
        "papers": compared(score),
    }


def titled(model: ModelFacts) -> str:
    """A model by its run, and by its step where it has one."""
    return model.run if model.step is None else f"{model.run}, step {model.step:,}"


def is_share(measure: str) -> bool:
    """
    >>> is_share("acc_norm"), is_share("rouge1"), is_share("bleu")
    (True, True, False)
    """
    return measure.startswith(SHARES)


def printed(measure: str, value: float | None) -> str:
    """A value as the papers print it.

    >>> printed("acc", 0.4599), printed("perplexity", 35.1291), printed("perplexity", 51234.5)
    ('45.99', '35.13', '51,234')
    """
    if value is None:
        return "-"
    shown = 100 * value if is_share(measure) else value
    return f"{shown:.2f}" if abs(shown) < 1000 else f"{shown:,.0f}"


def has_unchecked(scores: Sequence[Score]) -> bool:
    """Whether `compared` marks one of the published values."""
    return any(score.nearest and not score.nearest.checked for score in scores)


def compared(score: Score) -> str:
    """The published value of about the same size; `*`: see UNCHECKED."""
    found = score.nearest
    return (
        f"{printed(score.measure, found.value)}{'' if found.checked else '*'} ({found.name})" if found else ""
    )
