"""Kind `parquet`: every row is a document, and one of its columns is the text. Row groups come one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.imports.inputs import Input
from dataprep.imports.rows import Fields, ReadTask, Row, of_columns
from dataprep.store.file_damage import FileDamage

BATCH_ROWS = 256
"""Rows that are held at once, beside the decompressed pages of their columns."""
UNCONVERTIBLE = (ValueError, ArithmeticError, LookupError)
"""What Arrow raises for values that have no counterpart in Python."""


def tasks(inputs: Iterable[Input], fields: Fields, limit: float) -> Iterator[ReadTask]:
    """Runs of row groups of about `limit` stored bytes. Where they are cut depends on the files alone.

    A file that cannot be read is a task without row groups, so that `read` notes why.
    """
    number = 0
    for input_file in inputs:
        about = _metadata(input_file, fields)
        if isinstance(about, str):
            yield ReadTask(number, [input_file])
            number += 1
            continue
        low, size = 0, 0
        for group in range(about.num_row_groups):
            size += about.row_group(group).total_byte_size
            if size >= limit or group == about.num_row_groups - 1:
                yield ReadTask(number, [input_file], (low, group + 1))
                number, low, size = number + 1, group + 1, 0


def read(task: ReadTask, each: Input, fields: Fields, damage: FileDamage) -> Iterator[Row]:
    """The rows of a task's row groups; those of a damaged group that cannot be read are bad."""
    if isinstance(why := _metadata(each, fields), str):
        damage.stopped = why
        return
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
                    for row in _rows(batch):
                        read_rows += 1
                        number = start + read_rows
                        if isinstance(error := row.get(fields.text), Exception):
                            yield Row(number, loss="bad_record", detail=str(error))
                        else:
                            yield _row(number, row, fields)
            except (pa.ArrowException, OSError, ValueError) as error:
                for lost in range(read_rows, rows):
                    yield Row(start + lost + 1, loss="bad_record", detail=str(error))
            start += rows


def _metadata(each: Input, fields: Fields) -> pq.FileMetaData | str:
    """The metadata of a file, or why it gives no text: it is not Parquet, or lacks the text's column."""
    try:
        about = pq.read_metadata(each.path)
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read as Parquet ({error})"
    names = about.schema.to_arrow_schema().names
    if fields.text not in names:
        return (
            f"has no column {fields.text!r}; name the one with the text by --text-field: {', '.join(names)}"
        )
    return about


def _row(number: int, columns: dict[str, Any], fields: Fields) -> Row:
    try:
        return of_columns(number, columns, fields)
    except UnicodeDecodeError as error:  # a column of bytes
        return Row(number, loss="not_utf8", detail=str(error))


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows of a batch. A value that Python cannot hold (bytes that are no UTF-8, a date beyond the year
    9999 or with nanoseconds, an unknown time zone) is the error that says so, and costs no other."""
    try:
        yield from batch.to_pylist()
    except UNCONVERTIBLE:  # Arrow converts all or nothing
        for row in range(batch.num_rows):
            yield {name: _value(column[row]) for name, column in zip(batch.column_names, batch, strict=True)}


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UNCONVERTIBLE as error:
        return error
