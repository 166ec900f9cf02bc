"""What the peers' scripts share: read the documents, time the work, write which are kept."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def texts() -> list[str]:
    """The texts of DOCUMENTS, a directory of JSON lines, in order."""
    return [
        json.loads(line)["text"]
        for file in sorted(Path(sys.argv[1]).glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]


def timed(work: Callable[[], list[int]]) -> None:
    """Do the work, which returns the numbers of the kept documents; print its CPU and wall seconds."""
    begun = time.process_time(), time.monotonic()
    kept = work()
    taken = time.process_time() - begun[0], time.monotonic() - begun[1]
    Path(sys.argv[2]).write_text("\n".join(map(str, kept)))
    print(json.dumps({"all": taken}))
