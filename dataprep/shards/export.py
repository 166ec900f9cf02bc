"""`corpus export`: the kept documents of a build as Parquet or JSON lines, for whatever comes after.

One file a text shard, so files follow the size of the data, and any number of workers makes them; what was
cut out by decontamination is cut out here. `manifest.json` is written last and lists the files with their
hashes: without it an export is not whole. Running again goes on, or adds what the build has more since.
Memory: a batch of documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus.directory import Build, Corpus
from dataprep.errors import DataError, UsageError
from dataprep.shards import text_shards
from dataprep.store.files import Output, attempt_path, publish, replace
from dataprep.store.pool import Progress, run_all
from dataprep.store.records import Record, commit, load_record
from dataprep.text import masking

FORMATS = ("parquet", "jsonl")
BATCH_BYTES = 16 << 20
"""Text that is held at once; a row group of Parquet."""

SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("site", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("date", pa.string()),
        ("language", pa.string()),
        ("text", pa.string()),
        ("karma", pa.int64()),
        ("first_seen", pa.int64()),
        ("url_key", pa.string()),
        ("text_key", pa.string()),
        ("piece", pa.list_(pa.int64())),
        (
            "submissions",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.string()),
                        ("created_utc", pa.int64()),
                        ("score", pa.int64()),
                        ("subreddit", pa.string()),
                    ]
                )
            ),
        ),
        ("warc", pa.struct([("file", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])),
    ]
)
"""All columns, as KEY.json names them; keys in hex. piece: [start, end) in the document, where it was cut."""


@dataclass(frozen=True)
class Shape:
    """What an export looks like. columns: names of SCHEMA. mask: kinds of `masking`.

    Raises UsageError for a format, a column or a kind that there is not.
    """

    format: str
    _: KW_ONLY
    columns: tuple[str, ...] = tuple(SCHEMA.names)
    mask: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, given, known in (
            ("format", (self.format,), FORMATS),
            ("columns", self.columns, tuple(SCHEMA.names)),
            ("mask", self.mask, masking.KINDS),
        ):
            if wrong := [column for column in given if column not in known]:
                raise UsageError(f"--{what} {', '.join(wrong)}: expected {', '.join(known)}")

    @staticmethod
    def of(form: str, *, columns: str, mask: str) -> Shape:
        """A shape from the words of a command, lists of names with commas; no columns are all columns."""
        return Shape(form, columns=_names(columns) or tuple(SCHEMA.names), mask=_names(mask))

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([SCHEMA.field(name) for name in self.columns])


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Notes of a part: how many addresses of each kind were masked."""

    masked: dict[str, int] = field(default_factory=dict)


def refuse_within(corpus: Corpus, out: Path) -> None:
    """Raise UsageError for an export into the corpus itself."""
    if corpus.root.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"-o {out}: is in the corpus, where `forget` would not find it; give another place")


def export(
    corpus: Corpus, build: Build, out: Path, shape: Shape, workers: int, progress: Progress
) -> dict[str, Any]:
    """Write the documents of a build to a directory; returns what its manifest says.

    Raises DataError when another export stands there, and for a damaged shard.
    """
    tars = [shard.tar for shard in text_shards.shards(build)]
    parts = [(corpus, out, number, tar, shape) for number, tar in enumerate(tars)]
    with progress("export", sum(tar.rows for tar in tars), "documents") as tick:
        records = run_all(run_part, parts, workers, tick)
    masked: Counter[str] = Counter()
    for record in records:
        masked.update(record.noted(Masked).masked)
    manifest = {
        "corpus": corpus.recipe.name,
        "build": build.name,
        "format": shape.format,
        "columns": list(shape.columns),
        "mask": list(shape.mask),
        "documents": sum(record.passed for record in records),
        "masked": dict(masked),
        "files": [msgspec.structs.asdict(output) for record in records for output in record.outputs.values()],
    }
    out.mkdir(parents=True, exist_ok=True)
    replace(out / "manifest.json", msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    return manifest


def run_part(
    corpus: Corpus, out: Path, number: int, tar: Output, shape: Shape, tick: Callable[[int], None]
) -> Record:
    """Export one text shard; `tick` counts documents."""
    part = f"part-{number:05d}"
    path = out / "records" / f"{part}.json"
    inputs = {tar.path: tar.xxh3_128} | {name: str(value) for name, value in vars(shape).items()}
    if path.exists():
        record = load_record(path)
        if record.inputs != inputs:
            raise DataError(f"{out}: holds an export of other shards or in another shape; choose another -o")
        tick(record.passed)
        return record
    masked: Counter[str] = Counter()
    written = attempt_path(out, part)
    documents = _shaped(text_shards.read_documents(corpus.root / tar.path), shape, masked, tick)
    rows = (_write_parquet if shape.format == "parquet" else _write_jsonl)(written, documents, shape.schema)
    output = publish(out, written, part, f".{shape.format}", rows)
    record = Record(
        step="export",
        part=part,
        inputs=inputs,
        outputs={"documents": output},
        entered=rows,
        passed=rows,
        notes=msgspec.to_builtins(Masked(masked=dict(masked))),
    )
    return commit(path, record)


def _shaped(
    documents: Iterator[dict[str, Any]], shape: Shape, masked: Counter[str], tick: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    """The documents with the columns that are wanted, texts and titles masked."""
    for document in documents:
        row = {name: document.get(name) for name in shape.columns}
        for name in ("title", "text"):
            if shape.mask and (text := row.get(name)):
                row[name], counts = masking.mask(text, shape.mask)
                masked.update(counts)
        yield row
        tick(1)


def _write_parquet(path: Path, documents: Iterator[dict[str, Any]], schema: pa.Schema) -> int:
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(documents):
            rows += len(batch)
            writer.write_table(pa.Table.from_pylist(batch, schema=schema), row_group_size=len(batch))
    return rows


def _write_jsonl(path: Path, documents: Iterator[dict[str, Any]], schema: pa.Schema) -> int:
    rows = 0
    with path.open("wb") as file:
        for document in documents:
            file.write(msgspec.json.encode(document) + b"\n")
            rows += 1
    return rows


def _batches(documents: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.get("text") or "")
        if size >= BATCH_BYTES or len(batch) >= 65_536:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
