"""datatrove's filter alone: `datatrove_filter.py EXAMPLES.jsonl DOCUMENTS.jsonl [--split]`.

Its indexer asks for lighteval even for one's own sets; the hashes are made by its own function without that.
--split: white space separates words, in place of spaCy.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer


class Split:
    """A tokenizer that costs nothing."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def main(examples: Path, documents: Path, split: bool) -> None:
    """Filter the texts of a JSONL file."""
    config = NGramsDecontConfig(n_grams=13)
    NGramsDecontIndexer._requires_dependencies = []
    with tempfile.TemporaryDirectory() as index:
        indexer, filter_ = NGramsDecontIndexer(index, config=config), NGramsDecontFilter(index, config=config)
        if split:
            indexer.tokenizer = filter_.tokenizer = Split()
        lines = examples.read_text().splitlines()
        hashes = {each for line in lines for each in indexer.compute_hashes(json.loads(line)["text"])}
        descr = config.hash_config.np_descr
        np.array(list(hashes), descr).tofile(Path(index) / "evals.index.hashes")
        texts = [json.loads(line)["text"] for line in documents.read_text().splitlines()]
        filter_.load_index_hashes()
        filter_.filter(Document(text="to load the models", id="-"))
        begun = time.process_time()
        kept = [filter_.filter(Document(text=text, id=str(number))) for number, text in enumerate(texts)]
    spent = time.process_time() - begun
    found = [number for number, verdict in enumerate(kept) if verdict is not True]
    print(json.dumps({"cpu_s": spent, "found": found, "ngrams": len(hashes)}))


main(Path(sys.argv[1]), Path(sys.argv[2]), "--split" in sys.argv)
