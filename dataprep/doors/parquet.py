"""Door `parquet`: every row is a document, and one of its columns is the text. Row groups come one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.doors.inputs import Input
from dataprep.doors.losses import Losses
from dataprep.doors.rows import Fields, Row, Task, of_columns
from dataprep.errors import DataError

BATCH_ROWS = 256
"""Rows that are held at once, beside the decompressed pages of their columns."""


def tasks(inputs: Iterable[Input], fields: Fields, limit: float) -> Iterator[Task]:
    """Runs of row groups of about `limit` stored bytes. Where they are cut depends on the files alone.

    Raises DataError for a file that is no Parquet, and one without a column of the text's name.
    """
    number = 0
    for each in inputs:
        try:
            about = pq.read_metadata(each.path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{each.path}: cannot be read as Parquet ({error}); leave it out") from None
        names = about.schema.to_arrow_schema().names
        if fields.text not in names:
            raise DataError(
                f"{each.path}: has no column {fields.text!r}; name the one with the text by --text-field: "
                f"{', '.join(names)}"
            )
        low, size = 0, 0
        for group in range(about.num_row_groups):
            size += about.row_group(group).total_byte_size
            if size >= limit or group == about.num_row_groups - 1:
                yield Task(number, [each], (low, group + 1))
                number, low, size = number + 1, group + 1, 0


def read(task: Task, each: Input, fields: Fields, losses: Losses) -> Iterator[Row]:
    """The rows of a task's row groups; those of a damaged group that cannot be read are bad."""
    with pq.ParquetFile(each.path) as file:
        about = file.metadata
        wanted = {fields.text, fields.url, fields.title, fields.date}
        columns = [name for name in file.schema_arrow.names if name in wanted]
        start = sum(about.row_group(group).num_rows for group in range(task.groups[0]))
        for group in range(*task.groups):
            rows = about.row_group(group).num_rows
            read_rows = 0
            try:
                for batch in file.iter_batches(BATCH_ROWS, [group], columns=columns):
                    for row in batch.to_pylist():
                        read_rows += 1
                        yield of_columns(start + read_rows, row, fields)
            except (pa.ArrowException, OSError, ValueError) as error:
                for lost in range(read_rows, rows):
                    yield Row(start + lost + 1, loss="bad_record", detail=str(error))
            start += rows
