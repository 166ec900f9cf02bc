"""`corpus forget --tokens`: erase from token shards what their corpus has forgotten.

All tombstones are applied, so it may be done at any time, and again. Memory: 80 bytes a document.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataprep import tombstones
from dataprep.builds import text_shards
from dataprep.corpus import Corpus
from dataprep.errors import DataError
from dataprep.store import read_table
from dataprep.tokens import generation
from dataprep.tokens.erase import erase
from dataprep.tokens.generation import ERASED, Manifest


def forget(corpus: Corpus, tokens: Path) -> int:
    """Forget in token shards what the corpus has forgotten; returns how many samples went now.

    Raises DataError for token shards that are not the corpus's.
    """
    manifest = generation.latest_generation(tokens)
    if manifest is None:
        raise DataError(f"{tokens}: no generation-N.json here; make one with `outbound pack`")
    gone = tombstones.documents(corpus.root)
    _refuse_others(corpus, tokens, manifest, gone)
    build = corpus.named_build(manifest["build"])
    sources = {
        f"{increment.number:04d}": generation.identity(text_shards.outputs(build, increment))
        for increment in corpus.increments()
    }
    return erase(tokens, gone, sources)


def _refuse_others(corpus: Corpus, tokens: Path, manifest: Manifest, gone: frozenset[bytes]) -> None:
    """Raise DataError unless all documents are of the corpus's build, or were until they were forgotten."""
    build = corpus.named_build(manifest["build"])
    tables = [read_table(corpus.root, record.outputs[:1], ["doc_id"]) for record in build.records("verdicts")]
    judged = [key for table in tables for key in table["doc_id"].to_pylist()]
    known = np.array([ERASED, *gone, *judged], "S16")
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            ids = np.ascontiguousarray(generation.read_table(tokens, shard)["doc_id"]).view("S16")
            if not np.isin(ids, known).all():
                raise DataError(f"{tokens}: was packed from another corpus or build than {corpus.root} has")
