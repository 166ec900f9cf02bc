"""Where documents come from: their links and the submissions that gave these, of many documents at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dataprep.audit.rows import rows_with
from dataprep.corpus.directory import Corpus

DOCUMENT = ["doc_id", "url_key", "url", "site", "title", "karma"]


def provenance(corpus: Corpus, doc_ids: Collection[bytes]) -> dict[bytes, dict[str, Any]]:
    """URL, site, title, karma and submissions of documents, by doc_id; the corpus may lack some.

    Memory: these, and the keys of one table.
    """
    found: dict[bytes, dict[str, Any]] = {}
    for increment in corpus.increments():
        documents = increment.outputs("extract", "documents")
        here = [*rows_with(corpus.root, documents, "doc_id", doc_ids, DOCUMENT)]
        keys = {row["url_key"] for row in here}
        links = rows_with(corpus.root, increment.link_tables, "url_key", keys, ["url_key", "submissions"])
        submissions = {link["url_key"]: link["submissions"] for link in links} if here else {}
        for row in here:
            about = {name: row[name] for name in DOCUMENT[2:]}
            given = submissions.get(row["url_key"]) or []
            found[row["doc_id"]] = {"increment": increment.path.name, **about, "submissions": given}
    return found
