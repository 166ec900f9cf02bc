"""Our find pass alone: `ours.py SETS DOCUMENTS.jsonl`. Prints CPU seconds, and which documents it found."""

import json
import sys
import time
from pathlib import Path

from dataprep.corpus import evalsets
from dataprep.text import ngrams


def main(sets: Path, documents: Path) -> None:
    """Find in the texts of a JSONL file."""
    texts = [each.text for path in evalsets.files(sets).values() for each in evalsets.examples(path)]
    table = ngrams.Grams.of(ngrams.words(texts), 13)
    with documents.open() as lines:
        contents = [json.loads(line)["text"] for line in lines]
    table.find(ngrams.words(["to make the tables"]))
    begun = time.process_time()
    found = set[int]()
    for first, batch in ngrams.batches(contents):
        words = ngrams.words(batch)
        places, _ = table.find(words)
        found.update((first + words.texts[places]).tolist())
    print(json.dumps({"cpu_s": time.process_time() - begun, "found": sorted(found), "ngrams": len(table)}))


main(Path(sys.argv[1]), Path(sys.argv[2]))
