"""datatrove's four stages of near-deduplication, 14 bands of 8 rows, one task and one process each.

    python datatrove_stages.py DOCUMENTS KEPT shipped|whitespace

whitespace: its word tokeniser (spaCy's) is replaced by splitting at white space.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from contender import timed
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import minhash
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


class WhiteSpace:
    """A word tokeniser."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def work() -> list[int]:
    """Run the stages and read what they kept."""
    config = minhash.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as directory:
        at = Path(directory)
        read, write = JsonlReader(sys.argv[1]), JsonlWriter(f"{at}/kept", compression=None)
        stages = [
            (1, [read, minhash.MinhashDedupSignature(f"{at}/signatures", config=config)]),
            (14, [minhash.MinhashDedupBuckets(f"{at}/signatures", f"{at}/buckets", config=config)]),
            (1, [minhash.MinhashDedupCluster(f"{at}/buckets", f"{at}/remove", config=config)]),
            (1, [read, minhash.MinhashDedupFilter(f"{at}/remove"), write]),
        ]
        for number, (tasks, stage) in enumerate(stages):
            LocalPipelineExecutor(stage, tasks=tasks, workers=1, logging_dir=f"{at}/logs-{number}").run()
        files = sorted((at / "kept").glob("*.jsonl"))
        return [int(json.loads(line)["id"]) for file in files for line in file.read_text().splitlines()]


if __name__ == "__main__":
    if sys.argv[3] == "whitespace":
        minhash.load_word_tokenizer = lambda language: WhiteSpace()
    timed(work)
