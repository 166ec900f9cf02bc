"""Sets as JSON lines of `id` and `text`, over which `outbound corpus overlap` runs.

Not every published set has an example a line: these files do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dataprep.store.files import replace
from pipeline.eval.evaluation import Asking
from pipeline.eval.set_files import examples


def write_examples(asking: Asking, data: Path, hashes: Mapping[str, str], directory: Path) -> int:
    """Write TASK.jsonl into a directory; returns how many examples it has."""
    found = examples(asking.task.reader, data, asking.test, hashes)
    rows = [{"id": example.key, "text": "\n".join(texts(example.row))} for example in found]
    replace(directory / f"{asking.task.name}.jsonl", msgspec.json.Encoder().encode_lines(rows))
    return len(rows)


def texts(value: Any) -> Iterator[str]:
    """All texts in a row, in their order.

    >>> [*texts({"question": "Why?", "choices": [{"text": "So."}, "No."], "label": 1})]
    ['Why?', 'So.', 'No.']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)
