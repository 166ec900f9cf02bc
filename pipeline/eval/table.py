"""Scores in words and as a table, as the papers print them."""

from __future__ import annotations

from rich.table import Table

from pipeline.monitor.evaluations import ModelFacts, Results, Score

SHARES = ("acc", "em", "exact_match", "f1", "rouge", "ties", "male_leaning", "lines_as_they_stand")
"""Beginnings of the names of measures that are shares, which papers print in percent."""


def table(results: Results) -> Table:
    """The scores for a terminal."""
    shown = Table(title=titled(results.model))
    for name in ("task", "shots", "protocol", "measure"):
        shown.add_column(name)
    for name in ("value", "95 %", "n", "clean", "papers"):
        shown.add_column(name, justify="right")
    for score in results.scores:
        named = (score.task, str(score.shots), score.protocol, score.measure)
        clean = printed(score.measure, score.clean.value) if score.clean else ""
        between = f"{printed(score.measure, score.low)} - {printed(score.measure, score.high)}"
        shown.add_row(
            *named,
            printed(score.measure, score.value),
            between if score.low is not None else "",
            f"{score.n:,}",
            clean,
            compared(score),
            style=None if score.main else "dim",
        )
    return shown


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

    >>> printed("acc", 0.4599), printed("perplexity", 35.1291), printed("acc", None)
    ('45.99', '35.13', '-')
    """
    if value is None:
        return "-"
    return f"{100 * value if is_share(measure) else value:.2f}"


def compared(score: Score) -> str:
    """The published value of about the same size; `*`: it was not compared with its source."""
    found = score.nearest
    return (
        f"{printed(score.measure, found.value)}{'' if found.checked else '*'} ({found.name})" if found else ""
    )
