"""GPT-3's arithmetic and word scrambling, which are published as JSON lines of `context` and `completion`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Row, each_line


def completions(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Lines such as {"context": "\\n\\nQ: What is 98 plus 45?\\n\\nA:", "completion": " 143"}."""
    return each_line(paths, root, _fields)


def _fields(row: Row) -> dict[str, Any]:
    fields = {"context": row.text("context"), "completion": row.text("completion")}
    if not fields["completion"].strip():
        raise row.wrong("completion", "an answer")
    return fields
