"""`corpus trace`: from a document to its verdict, its WARC record, its URL and its submissions."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from dataprep.corpus import Corpus
from dataprep.errors import DataError
from dataprep.funnel import judged
from dataprep.store import Record


def trace(corpus: Corpus, doc_id: str) -> dict[str, Any]:
    """All that the corpus knows of a document, without its text. Raises DataError when there is none."""
    try:
        key = bytes.fromhex(doc_id)
    except ValueError:
        raise DataError(f"{doc_id!r}: a doc_id is 32 hex digits") from None
    for increment, verdicts in judged(corpus, corpus.current_build()):
        verdict = _row(corpus, [verdicts], "doc_id", key)
        if verdict is None:
            continue
        document = _row(corpus, increment.records("documents"), "doc_id", key) or {}
        link = _row(corpus, increment.link_records, "url_key", verdict["url_key"]) or {}
        return {
            "doc_id": doc_id,
            "increment": increment.path.name,
            "verdict": verdict["verdict"],
            "number": verdict["number"],
            "repeats": verdict["repeats"].hex() if verdict["repeats"] else None,
            **{name: document.get(name) for name in ("url", "title", "date", "karma")},
            **{name: document.get(name) for name in ("warc_file", "warc_offset", "warc_length")},
            "submissions": link.get("submissions"),
        }
    raise DataError(f"{doc_id}: no such document in the current build of {corpus.root}")


def _row(corpus: Corpus, records: list[Record], column: str, key: bytes) -> dict[str, Any] | None:
    """The first row of some records' tables whose `column` is `key`."""
    for record in records:
        path = corpus.root / record.outputs[0].path
        found: list[dict[str, Any]] = pq.read_table(path, filters=[(column, "=", key)]).to_pylist()
        if found:
            return found[0]
    return None
