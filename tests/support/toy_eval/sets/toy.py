"""Read what the tests write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.eval.documents import Example


def hellaswag(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    for path in paths:
        file = path.relative_to(root).as_posix()
        for line, text in enumerate(path.read_text().splitlines(), 1):
            key = f"{file}:{line}"
            yield Example(file=file, line=line, key=key, unit=key, row=json.loads(text))
