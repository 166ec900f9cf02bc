"""Small packed corpora for the tests of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.pack.manifest import Generation
from dataprep.pack.pack import pack
from dataprep.pack.packing import Layout
from support.ready_corpus import add_pages, make_corpus, no_progress

TEXTS = [
    "\n\n".join(f"Page {n}, part {m}: café number {n * m} isn't far; 漢字, emoji 🎈." for m in range(20))
    for n in range(60)
]
LAYOUT = Layout(block_tokens=500, shard_blocks=3, held_out=0.2)


def built(root: Path, *increments: range) -> Corpus:
    """A corpus that keeps these of TEXTS, each range of them an increment."""
    corpus = make_corpus(root)
    for number, texts in enumerate(increments):
        add_pages(corpus, f"m{number}", [(n, f"http://a.test/{n}", TEXTS[n]) for n in texts], parts=2)
    ingest.extend(corpus, 1, no_progress)
    return corpus


def run(corpus: Corpus, bpe: Path, tokens: Path, layout: Layout = LAYOUT, workers: int = 1) -> Generation:
    return pack(corpus, corpus.current_build(), bpe, tokens, layout, workers, no_progress)


def stream(tokens: Path, generation: Generation, split: str) -> list[int]:
    """The token stream of a split, read as the format says."""
    pieces = [
        np.fromfile(tokens / shard.tar.path, generation.dtype, length, offset=offset)
        for shard in generation.splits[split].shards
        for offset, length in shard.blocks
    ]
    return np.concatenate(pieces).tolist() if pieces else []
