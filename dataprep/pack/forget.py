"""`corpus forget --tokens`: erase from token shards what their corpus has forgotten.

All tombstones are applied, so it may be done at any time, and again. Memory: 80 bytes a document.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack.erase import erase
from dataprep.pack.manifest import ERASED, Manifest, identity, latest_generation
from dataprep.pack.manifest import read_table as documents_table
from dataprep.shards import text_shards
from dataprep.store.files import read_table


def forget(corpus: Corpus, tokens: Path) -> int:
    """Forget in token shards what the corpus has forgotten; returns how many samples went now.

    Raises DataError for token shards that are not the corpus's.
    """
    manifest = latest_generation(tokens)
    if manifest is None:
        raise DataError(f"{tokens}: no generation-N.json here; make one with `outbound pack`")
    _refuse_others(corpus, tokens, manifest)
    build = corpus.named_build(manifest["build"])
    sources = {
        f"{increment.number:04d}": identity(text_shards.outputs(build, increment))
        for increment in corpus.increments()
        if text_shards.complete(build, increment)  # the build may be gone since
    }
    return erase(tokens, tombstones.documents(corpus.root), sources)


def _refuse_others(corpus: Corpus, tokens: Path, manifest: Manifest) -> None:
    """Raise DataError unless all documents are the corpus's; a forgotten one keeps its doc_id."""
    records = [record for increment in corpus.increments() for record in increment.records("documents")]
    tables = [read_table(corpus.root, record.outputs[:1], ["doc_id"]) for record in records]
    known = np.array([ERASED, *(key for table in tables for key in table["doc_id"].to_pylist())], "S16")
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            ids = np.ascontiguousarray(documents_table(tokens, shard)["doc_id"]).view("S16")
            if not np.isin(ids, known).all():
                path = tokens / shard["documents_path"]
                raise DataError(
                    f"{path}: names a document that {corpus.root} does not hold: was it packed from another "
                    "corpus, or is it damaged? `outbound corpus verify --tokens` says it"
                )
