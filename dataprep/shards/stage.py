"""Step `shard`: the kept documents of an increment as webdataset tars of KEY.txt and KEY.json.

A shard is a run of kept documents, by partition and row, of about the recipe's `shard_mb` million characters;
where shards are cut depends on the facts and the recipe alone. A document that was cut gives a sample for
each of its pieces. Byte-reproducible: no times, no owners, keys are doc_ids.

Memory: of the plan about 50 bytes a document of the increment; of a shard as much again, a batch of
documents, the compressed text of a row group, the shard's submissions, and 300 bytes a sample for the index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus.directory import Decisions
from dataprep.decontaminate import stage as decontaminate
from dataprep.selection import kept
from dataprep.shards.text_shards import Span, publish_shard, write_sample
from dataprep.store.files import attempt_path, read_table
from dataprep.store.step import Made, Part, Save, Task
from dataprep.store.tars import open_tar
from dataprep.text import masking

KEY_JSON = ("url", "site", "title", "author", "date", "karma", "first_seen", "language", "submissions")
"""What KEY.json says of a document beside its keys and its WARC record."""

LINK_ROWS = 4096


Range = tuple[int, int, int]
"""The rows [low, high) of a partition of documents."""


def plan(scope: Decisions, save: Save) -> list[Part]:
    """Cut the kept documents of an increment, and what decontamination left of them, into shards."""
    rows, _ = written(scope)
    sizes = np.empty(0, np.int64)
    scores = scope.increment.outputs("score", "scores")
    bounds = np.searchsorted(rows["part"], np.arange(len(scores) + 1))
    for output, (first, last) in zip(scores, pairwise(bounds), strict=True):
        characters = read_table(scope.root, [output], ["characters"])["characters"].to_numpy()
        sizes = np.append(sizes, characters[rows["row"][first:last]])
    numbers = (np.cumsum(sizes) - sizes) // int(scope.corpus.recipe.select.shard_mb * 1e6)
    _, starts = np.unique(numbers, return_index=True)
    shards = []
    for number, documents in enumerate(np.split(rows, starts[1:]) if len(rows) else []):
        parts = np.unique(documents["part"])
        inside = [documents["row"][documents["part"] == part] for part in parts]
        ranges = [
            (int(part), int(here[0]), int(here[-1]) + 1) for part, here in zip(parts, inside, strict=True)
        ]
        shards.append(Part(name=f"{number:05d}", size=len(documents), spec={"ranges": ranges}))
    return shards


def run(task: Task[Decisions]) -> Made:
    """Write one shard of `plan`."""
    scope, corpus = task.scope, task.scope.corpus
    stem = f"{corpus.recipe.name}-{scope.increment.key}-{task.part.name}"
    written = attempt_path(task.directory, stem)
    entered, members = 0, list[tuple[bytes, list[int]]]()
    with written.open("wb") as file, open_tar(file) as tar:
        for row, pieces in _documents(scope, task.part.spec["ranges"]):
            entered += 1
            for sample in _samples(row, pieces, corpus.recipe.select.mask):
                members.append((row["doc_id"], write_sample(tar, *sample)))
            task.tick(1)
    return Made(
        outputs=publish_shard(scope.root, written, stem, members),
        entered=entered,
        passed=entered,
    )


def written(scope: Decisions) -> tuple[npt.NDArray[np.void], dict[tuple[int, int], list[Span]]]:
    """The kept rows that are not contaminated (kept.KEPT_ROW), and the pieces of those that were cut."""
    rows = kept.kept_rows(scope)
    pieces = decontaminate.pieces(scope)
    if not pieces:
        return rows, pieces
    stays = [
        bool(pieces.get((part, row), True))
        for part, row in zip(rows["part"].tolist(), rows["row"].tolist(), strict=True)
    ]
    return rows[np.array(stays, np.bool_)], pieces


def _documents(scope: Decisions, ranges: list[Range]) -> Iterator[tuple[dict[str, Any], list[Span] | None]]:
    """Each document of a shard with what KEY.json says of it, and its pieces if it was cut."""
    rows, pieces = written(scope)
    here = {
        part: rows["row"][(rows["part"] == part) & (rows["row"] >= low) & (rows["row"] < high)]
        for part, low, high in ranges
    }
    documents = scope.increment.outputs("extract", "documents")
    scores = scope.increment.outputs("score", "scores")
    paths = {part: scope.root / documents[part].path for part in here}
    keys = {
        key
        for part, chosen_rows in here.items()
        for batch in kept.chosen(paths[part], chosen_rows, ["url_key"])
        for key in batch["url_key"].to_pylist()
    }
    submissions = _submissions(scope, keys)
    for part, chosen_rows in here.items():
        languages = read_table(scope.root, [scores[part]], ["language"])["language"]
        places = iter(chosen_rows.tolist())
        for batch in kept.chosen(paths[part], chosen_rows):
            for document in batch.to_pylist():
                place = next(places)
                document["language"] = languages[place].as_py()
                document["submissions"] = submissions.get(document["url_key"], [])
                yield document, pieces.get((part, place))


def _samples(
    row: dict[str, Any], pieces: list[Span] | None, kinds: frozenset[str]
) -> Iterator[tuple[str, bytes, bytes]]:
    """Key, KEY.json and KEY.txt of each sample that a document gives."""
    key = row["doc_id"].hex()
    about = {
        **{name: row[name].hex() for name in ("doc_id", "url_key", "text_key")},
        **{name: row[name] for name in KEY_JSON},
        "warc": {name: row[f"warc_{name}"] for name in ("file", "offset", "length")},
    }
    for number, piece in enumerate(pieces or [None]):
        text = row["text"] if piece is None else row["text"][slice(*piece)]
        more: dict[str, Any] = {} if piece is None else {"piece": piece}
        if kinds:
            text, more["masked"] = masking.mask(text, kinds)
            about["title"] = about["title"] and masking.mask(about["title"], kinds)[0]
        content = json.dumps(about | more, ensure_ascii=False).encode()
        yield key if piece is None else f"{key}-{number:02d}", content, text.encode()


def _submissions(scope: Decisions, keys: set[bytes]) -> dict[bytes, list[dict[str, Any]]]:
    """The submissions of some URLs."""
    wanted = pa.array(keys, pa.binary(16))
    found: dict[bytes, list[dict[str, Any]]] = {}
    for output in scope.increment.link_tables:
        with pq.ParquetFile(scope.root / output.path) as file:
            for batch in file.iter_batches(LINK_ROWS, columns=["url_key", "submissions"]):
                rows = batch.filter(pa.compute.is_in(batch["url_key"], value_set=wanted)).to_pylist()
                found |= {row["url_key"]: row["submissions"] for row in rows}
    return found
