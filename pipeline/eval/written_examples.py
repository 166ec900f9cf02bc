"""Sets as JSON lines of `id` and `text`, over which `outbound corpus overlap` runs.

Not every published set has an example a line: these files do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from dataprep.corpus.evalsets import strings
from dataprep.store.files import replace
from pipeline.eval.evaluation import Asking
from pipeline.eval.set_files import examples


def write_examples(asking: Asking, data: Path, hashes: Mapping[str, str], directory: Path) -> int:
    """Write TASK.jsonl into a directory; returns how many examples it has."""
    found = examples(asking.task.reader, data, asking.test, hashes)
    rows = [{"id": example.key, "text": "\n".join(strings(example.row))} for example in found]
    replace(directory / f"{asking.task.name}.jsonl", msgspec.json.Encoder().encode_lines(rows))
    return len(rows)
