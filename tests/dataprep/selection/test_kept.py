"""Chosen rows of a partition come in order and in batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep.errors import DataError
from dataprep.selection import kept


@pytest.mark.parametrize("rows", [[], [0], [999], [0, 1, 2], [3, 250, 255, 256, 300, 511, 512, 998]])
def test_chosen_rows_come_in_order_whatever_the_row_groups(tmp_path: Path, rows: list[int]) -> None:
    path = tmp_path / "documents.parquet"
    pq.write_table(pa.table({"text": [f"t{n}" for n in range(1000)]}), path, row_group_size=300)
    batches = list(kept.chosen(path, np.array(rows, np.int32), ["text"]))
    assert [text for batch in batches for text in batch["text"].to_pylist()] == [f"t{n}" for n in rows]
    assert all(0 < batch.num_rows <= kept.BATCH_ROWS for batch in batches)


def test_a_partition_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(DataError, match=r"documents\.parquet: cannot be read"):
        list(kept.chosen(path, np.array([0]), ["text"]))


@pytest.mark.slow(2)
def test_memory_is_a_batch_not_a_partition(tmp_path: Path) -> None:
    """200 MB of text are read with less than a quarter of that."""
    path = tmp_path / "documents.parquet"
    texts = [f"document {n} " + "of many words, this one again " * 1000 for n in range(7000)]
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", row_group_size=16384)
    program = (
        "import resource, sys; from pathlib import Path\n"
        "import numpy as np; from dataprep.selection import kept\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "read = sum(batch['text'].nbytes for batch in "
        "kept.chosen(Path(sys.argv[1]), np.arange(7000), ['text']))\n"
        "print(read // 1000, peak() - before)"
    )
    ended = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=True)
    read_kb, grown_kb = map(int, ended.stdout.split())
    assert read_kb > 200_000
    assert grown_kb < 50_000
