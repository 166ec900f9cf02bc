"""Our measurements and rules. `ours.py rules|stage TEXTS.jsonl VERDICTS.jsonl` prints the seconds they took.

`rules` measures what Gopher, C4 and FineWeb need; `stage` all that the stage `score` measures (language and
MinHash, too). Both judge by four selections, as datatrove has four filters.
"""

import json
import sys
import time
from pathlib import Path

import pyarrow as pa

from dataprep.corpus.recipe import C4, FineWeb, Gopher, Select
from dataprep.score import stage as score
from dataprep.selection import thresholds
from dataprep.text import c4, fineweb, gopher

BATCH = 1000
RULES = thresholds.SECTIONS["gopher"].model_fields
FIRST_OF_QUALITY = list(RULES).index("min_words")
REPETITION, QUALITY = (
    dict.fromkeys(list(RULES)[part]) for part in (slice(FIRST_OF_QUALITY), slice(FIRST_OF_QUALITY, None))
)
FILTERS = {
    "Gopher repetition": Select(gopher=Gopher(**QUALITY)),
    "Gopher quality": Select(gopher=Gopher(**REPETITION)),
    "C4": Select(c4=C4()),
    "FineWeb": Select(fineweb=FineWeb(max_duplicate_characters=0.01)),
}
SCHEMA = pa.schema([*gopher.COLUMNS, *c4.COLUMNS, *fineweb.COLUMNS])


def rules(text: str) -> dict[str, float]:
    """What the rules need, without what else the stage measures."""
    words = text.split()
    return {**gopher.measure(text, words), **c4.measure(text), **fineweb.measure(text, words)}


def main(what: str, texts: Path, output: Path) -> None:
    """Judge every text and write its verdicts."""
    lines = [json.loads(line)["text"] for line in texts.read_text().splitlines()]
    measure, schema = (rules, SCHEMA) if what == "rules" else (score.measure, score.SCHEMA)
    measure("The first call loads what is loaded once.")
    verdicts: dict[str, list[str]] = {name: [] for name in FILTERS}
    cpu, wall = time.process_time(), time.monotonic()
    for start in range(0, len(lines), BATCH):
        table = pa.Table.from_pylist([measure(text) for text in lines[start : start + BATCH]], schema=schema)
        for name, selection in FILTERS.items():
            verdicts[name] += thresholds.apply(table, selection)[0]
    print(json.dumps({"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}))
    with output.open("w") as file:
        for row in zip(*verdicts.values(), strict=True):
            file.write(json.dumps(dict(zip(verdicts, row, strict=True))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
