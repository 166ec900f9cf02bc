"""`corpus trace` finds a document by its key, and reads no more of the tables than it shows."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataprep import ingest
from dataprep.audit.rows import rows_with
from dataprep.corpus.directory import Corpus
from support.cli import result
from support.cli import run as outbound
from support.ready_corpus import add_pages, document_row, make_corpus, no_progress

pytestmark = pytest.mark.slow(3)
PAGES = [(n, f"http://a.test/{n}", f"page {n} of a book on ships and the sea") for n in range(60)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two increments, the first in two parts. Left as it is, but for the texts of the first part."""
    made = make_corpus(tmp_path_factory.mktemp("corpus"))
    add_pages(made, "one", PAGES[:50], parts=2)
    add_pages(made, "two", PAGES[50:])
    ingest.extend(made, 1, no_progress)
    return made


def spoil(path: Path, column: str) -> None:
    """Overwrite the bytes of a column in a Parquet file."""
    described = pq.read_metadata(path)
    with path.open("rb+") as file:
        for group in range(described.num_row_groups):
            chunk = described.row_group(group).column(described.schema.names.index(column))
            file.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
            file.write(b"\xff" * chunk.total_compressed_size)


def test_a_document_is_traced_without_reading_any_text(corpus: Corpus) -> None:
    (first, _) = corpus.increments()[0].outputs("extract", "documents")
    spoil(corpus.root / first.path, "text")
    row = document_row(*PAGES[2])
    found = result("corpus", "trace", corpus.root, row["doc_id"].hex())
    assert (found["url"], found["karma"], found["increment"]) == (row["url"], 3, "0001-one")
    shown = outbound("corpus", "trace", corpus.root, row["doc_id"].hex(), "--show")
    assert (shown.returncode, f"{corpus.root / first.path}: cannot be read" in shown.stderr) == (1, True)
    other = document_row(*PAGES[59])
    assert result("corpus", "trace", corpus.root, other["doc_id"].hex(), "--show")["shown"] == other["text"]


def test_rows_are_found_by_many_keys_in_the_order_of_the_tables(corpus: Corpus) -> None:
    rows = [document_row(*page) for page in PAGES]
    tables = [table for each in corpus.increments() for table in each.outputs("extract", "documents")]
    wanted = [rows[n] for n in (0, 4, 48, 1, 49, 50, 59)]  # by part: even, odd, the second increment
    keys = [b"\0" * 16, *(row["doc_id"] for row in reversed(wanted))]
    found = rows_with(corpus.root, tables, "doc_id", keys, ["url", "of_a_later_version"])
    assert [*found] == [{"url": row["url"]} for row in wanted]
