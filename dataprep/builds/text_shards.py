"""Step `shard`: the kept documents of one partition as a webdataset tar of KEY.txt and KEY.json.

Byte-reproducible: no times, no owners, keys are doc_ids, members stand in the order of the documents.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.builds.select import KEPT
from dataprep.corpus import Build, Corpus, Increment
from dataprep.errors import DataError
from dataprep.store import Output, Record, attempt_path, commit, done, publish, read_table

STEP = "text"


def run_part(
    corpus: Corpus, build: Build, increment: Increment, number: int, tick: Callable[[int], None]
) -> Record:
    """Write the tar of one document partition of a judged increment."""
    import webdataset

    part = f"{increment.number:04d}-{number:05d}"
    path = build.path / STEP / f"{part}.json"
    documents = increment.records("documents")[number]
    scores = increment.records("scores")[number]
    verdicts = next(r for r in build.records("verdicts") if r.part == f"{increment.number:04d}")
    sources = [*documents.outputs, *scores.outputs, verdicts.outputs[0]]
    inputs = {output.path: output.xxh3_128 for output in sources}
    if record := done(path, inputs):
        tick(record.passed)
        return record

    table = pq.read_table(
        corpus.root / verdicts.outputs[0].path,
        columns=["row"],
        filters=[("part", "=", number), ("verdict", "=", KEPT)],
    )
    kept = pa.array(sorted(table["row"].to_pylist()), pa.int64())
    rows = read_table(corpus.root, documents.outputs).take(kept).to_pylist()
    languages = read_table(corpus.root, scores.outputs, ["language"]).take(kept)["language"].to_pylist()
    submissions = _submissions(corpus, increment, {row["url_key"] for row in rows})

    stem = f"{corpus.recipe.name}-{part}"
    written = attempt_path(path.parent, stem)
    with written.open("wb") as file, webdataset.TarWriter(file, user="", group="", mtime=0) as tar:
        for row, language in zip(rows, languages, strict=True):
            tar.write(_sample(row, language, submissions[row["url_key"]]))
            tick(1)
    output = publish(corpus.root, written, stem, ".tar", rows=len(rows))
    return commit(path, Record(STEP, part, inputs, [output], len(rows), len(rows)))


def complete(build: Build, increment: Increment) -> bool:
    """Whether an increment is judged and every document partition of it has its tar."""
    name = f"{increment.number:04d}"
    judged = any(record.part == name for record in build.records("verdicts"))
    written = {record.part for record in build.records(STEP)}
    return judged and written >= {
        f"{name}-{number:05d}" for number in range(len(increment.records("documents")))
    }


def outputs(build: Build, increment: Increment) -> list[Output]:
    """The tars of an increment, in partition order."""
    prefix = f"{increment.number:04d}-"
    return [o for record in build.records(STEP) if record.part.startswith(prefix) for o in record.outputs]


def read_documents(tar: Path) -> Iterator[dict[str, Any]]:
    """The documents of a text shard: KEY.json's fields and `text`, in order.

    Raises DataError when the tar is damaged.
    """
    try:
        with tarfile.open(tar) as archive:
            members = iter(archive)  # webdataset writes KEY.json just before KEY.txt
            for about, text in zip_longest(members, members):
                if not (text and about.name.endswith(".json") and text.name == about.name[:-5] + ".txt"):
                    raise ValueError(f"{about.name} has no partner beside it")
                yield {**json.loads(_content(archive, about)), "text": _content(archive, text)}
    except (tarfile.TarError, ValueError) as error:
        raise DataError(f"{tar}: is damaged ({error}); `outbound corpus verify` says what else is") from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    return file.read().decode() if file else ""


def _sample(row: dict[str, Any], language: str, submissions: list[dict[str, Any]]) -> dict[str, Any]:
    about = {
        "doc_id": row["doc_id"].hex(),
        "url_key": row["url_key"].hex(),
        "text_key": row["text_key"].hex(),
        **{name: row[name] for name in ("url", "site", "title", "date", "karma", "first_seen")},
        "language": language,
        "submissions": submissions,
        "warc": {name: row[f"warc_{name}"] for name in ("file", "offset", "length")},
    }
    return {
        "__key__": row["doc_id"].hex(),
        "txt": row["text"].encode(),
        "json": json.dumps(about, ensure_ascii=False).encode(),
    }


def _submissions(corpus: Corpus, increment: Increment, keys: set[bytes]) -> dict[bytes, list[dict[str, Any]]]:
    """The submissions of some URLs."""
    found: dict[bytes, list[dict[str, Any]]] = {}
    for record in increment.link_records:
        table = read_table(corpus.root, record.outputs[:1], ["url_key", "submissions"])
        chosen = pa.compute.is_in(table["url_key"], value_set=pa.array(keys, pa.binary(16)))
        found |= {row["url_key"]: row["submissions"] for row in table.filter(chosen).to_pylist()}
    return found
