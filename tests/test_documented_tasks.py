"""The tables of `docs/evaluation.md` are those of `configs/tasks`.

To accept changes: OUTBOUND_GOLDEN=write pytest tests/test_documented_tasks.py
"""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

from pipeline.eval.tasks import ProtocolFile, TaskFile, shipped

PAGE = Path(__file__).parents[1] / "docs" / "evaluation.md"
FAMILIES = [
    *("language modelling", "cloze", "completion", "commonsense", "pronouns", "SuperGLUE", "NLI"),
    *("closed-book questions", "reading comprehension", "translation", "summaries", "arithmetic"),
    *("word scrambling", "analogies", "bias", "shown"),
]
MOST_MEASURES = 4


def tables() -> str:
    """A table a family."""
    tasks = sorted(shipped().values(), key=lambda task: (FAMILIES.index(task.family), task.name))
    text = ""
    for family, members in groupby(tasks, key=lambda task: task.family):
        text += f"\n### {family[0].upper()}{family[1:]}\n\n"
        text += "| task | `--tasks` | papers | protocols: measures | K | file | proven | source |\n"
        text += "|---|---|---|---|---|---|---|---|\n"
        text += "".join(map(row, members))
    return text


def row(task: TaskFile) -> str:
    protocols = "; ".join(f"`{name}`: {measures(protocol)}" for name, protocol in task.protocols.items())
    papers = ", ".join(suite.upper().replace("GPT", "GPT-") for suite in task.suites)
    files = "<br>".join(f"`{name}`" for pattern in task.files.get("test", []) for name in pattern.split("|"))
    cells = [
        *(task.title, f"`{task.name}`", papers, protocols, str(task.few or ""), files),
        *("yes" if task.proven else "", task.source),
    ]
    return f"| {' | '.join(cells)} |\n"


def measures(protocol: ProtocolFile) -> str:
    """The first few, and how many more."""
    shown = protocol.measures[:MOST_MEASURES]
    more = len(protocol.measures) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "texts"


def test_the_page_has_the_tasks_of_the_code() -> None:
    prose, _, _ = PAGE.read_text().partition("\n### ")
    page = prose + tables()
    if os.environ.get("OUTBOUND_GOLDEN") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
