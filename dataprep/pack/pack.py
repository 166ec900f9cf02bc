"""`outbound pack`: the kept documents of a build as token shards.

A shard is an uncompressed webdataset tar whose members are blocks of little-endian tokens; any WebDataset
reader can stream it and the trainer maps it. Documents are shuffled within an increment by a keyed hash of
their doc_id, each is followed by end-of-text, and a held-out split is taken by url_key before. An immutable
`generation-N.json` lists the shards; the next pack adds the documents of new increments as generation N+1 and
re-tokenises nothing.

Two steps, both of independent tasks that leave a record each: text shards become sorted runs of tokens
(`runs`), and these are merged into token shards (`shards`). What is killed goes on from the records.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataprep.corpus.directory import RECIPE, Build, Corpus
from dataprep.errors import DataError
from dataprep.pack import runs, shards
from dataprep.pack.manifest import (
    FORMAT,
    SPLITS,
    Manifest,
    add_up,
    identity,
    latest_generation,
    publish,
    unnamed,
)
from dataprep.pack.runs import Job
from dataprep.pack.shards import Plan
from dataprep.shards import text_shards
from dataprep.shards.text_shards import TextShard
from dataprep.store.pool import Progress, run_all
from dataprep.store.records import Record
from dataprep.tokenizer import tokenizer

WORTH_A_PROCESS = 8 << 20
"""Bytes of text that take longer to tokenise than a process to start."""


@dataclass(frozen=True)
class Layout:
    """How tokens are cut into files; `held_out` is the share of URLs in the `val` split."""

    block_tokens: int = 1 << 20
    shard_blocks: int = 256
    held_out: float = 0.005


def pack(
    corpus: Corpus,
    build: Build,
    source: Path,
    tokens: Path,
    layout: Layout,
    workers: int,
    progress: Progress,
) -> Manifest:
    """Pack what is new in a build with the tokenizer at `source`, publish the next generation, return it.

    The caller holds the lock of `tokens` (`locks.alone`). Raises DataError when it holds another
    build, tokenizer or layout.
    """
    if (tokens / RECIPE).exists():
        raise DataError(f"{tokens}: is a corpus; give the token shards a directory of their own")
    texts = _texts(corpus, build)
    sources = {name: identity([text.tar for text in found]) for name, found in texts.items()}
    last = latest_generation(tokens)
    job = _job(tokens, source, layout)
    manifest = _next(job, build, last)
    if last:
        _same(last, manifest, tokens)
    for name, packed in manifest["increments"].items():
        if sources.get(name) != packed:
            raise DataError(
                f"{tokens}: its increment {name} is not that of {corpus.root}; choose another directory, or, "
                f"if text was forgotten there, run `outbound corpus forget {corpus.root} --tokens {tokens}`"
            )
    new = {name: found for name, found in texts.items() if name not in manifest["increments"]}
    if last and not new:
        _tidy(tokens)
        return last

    worth = sum(text.tar.bytes for found in new.values() for text in found) // WORTH_A_PROCESS
    workers = max(1, min(workers, worth))
    tokenizer.copy(source, job.tokenizer)
    plans = _tokenise(corpus, job, new, sources, workers, progress)
    for split, record in _merge(job, plans, workers, progress):
        manifest["splits"][split]["shards"].append(shards.entry(record))
    manifest["increments"] |= {name: sources[name] for name in new}
    add_up(tokens, manifest)
    publish(tokens, manifest)
    _tidy(tokens)
    return manifest


def _tokenise(
    corpus: Corpus,
    job: Job,
    new: dict[str, list[TextShard]],
    sources: dict[str, str],
    workers: int,
    progress: Progress,
) -> list[tuple[str, Path, Plan]]:
    """Make the runs of new increments; returns split, directory and plan of each stream to merge."""
    directories = {name: job.directory(name, sources[name]) for name in new}
    parts = [
        (job, directories[name], corpus.root, number, text)
        for name, found in new.items()
        for number, text in enumerate(found)
    ]
    documents = sum(text.tar.rows for found in new.values() for text in found)
    with progress("tokenise", documents, "documents") as tick:
        made = iter(run_all(runs.run_part, parts, workers, tick))
    records = {name: [next(made) for _ in found] for name, found in new.items()}
    return [
        (
            split,
            directories[name],
            shards.plan(job, f"{split}-{name}", runs.runs_of(job, records[name], split)),
        )
        for name in new
        for split in SPLITS
    ]


def _merge(
    job: Job, plans: list[tuple[str, Path, Plan]], workers: int, progress: Progress
) -> Iterator[tuple[str, Record]]:
    """Write the shards of all plans; gives the split and record of each, in order."""
    cuts = [
        (split, (job, directory, plan, number))
        for split, directory, plan in plans
        for number in range(-(-plan.tokens // job.shard_tokens))
    ]
    blocks = sum(-(-plan.tokens // job.block_tokens) for _, _, plan in plans)
    with progress("shards", blocks, "blocks") as tick:
        records = run_all(shards.run_part, [part for _, part in cuts], workers, tick)
    return zip((split for split, _ in cuts), records, strict=True)


def _tidy(tokens: Path) -> None:
    """Remove what only an unfinished pack needs."""
    shutil.rmtree(tokens / "runs", ignore_errors=True)
    for garbage in unnamed(tokens):
        garbage.unlink()


def _texts(corpus: Corpus, build: Build) -> dict[str, list[TextShard]]:
    """The text shards of each increment that is whole. Raises DataError when they hold no document."""
    texts = {
        f"{increment.number:04d}": text_shards.shards(build, increment)
        for increment in corpus.increments()
        if text_shards.complete(build, increment)
    }
    if not any(texts.values()):
        raise DataError(
            f"{corpus.root}: its current build keeps no document; `outbound corpus status` says why: "
            "add more, or select less strictly"
        )
    return texts


def _job(tokens: Path, source: Path, layout: Layout) -> Job:
    encoder = tokenizer.load(source)
    return Job(
        tokens=tokens,
        tokenizer=tokens / "tokenizer",
        fingerprint=encoder.fingerprint,
        dtype=np.dtype("<u2" if encoder.vocab_size <= 1 << 16 else "<u4").str,
        eot=encoder.eot,
        vocab_size=encoder.vocab_size,
        held_out=layout.held_out,
        block_tokens=layout.block_tokens,
        shard_blocks=layout.shard_blocks,
    )


def _next(job: Job, build: Build, last: Manifest | None) -> Manifest:
    """The manifest after `last`, with nothing added yet."""
    return {
        "format": FORMAT,
        "generation": 1 + (last["generation"] if last else 0),
        "build": build.name,
        "tokenizer": {"fingerprint": job.fingerprint, "vocab_size": job.vocab_size, "eot": job.eot},
        "dtype": job.dtype,
        "block_tokens": job.block_tokens,
        "held_out": job.held_out,
        "increments": dict(last["increments"]) if last else {},
        "splits": {
            split: {"shards": list(last["splits"][split]["shards"]) if last else []} for split in SPLITS
        },
    }


def _same(last: Manifest, manifest: Manifest, tokens: Path) -> None:
    for key in ("build", "tokenizer", "dtype", "block_tokens", "held_out"):
        if last[key] != manifest[key]:
            raise DataError(
                f"{tokens}: holds {_told(key, last)}, not {_told(key, manifest)}; choose another directory"
            )


def _told(key: str, manifest: Manifest) -> str:
    """A setting in words; a tokenizer by what `outbound tokenizer info` says of it."""
    if key != "tokenizer":
        return f"{key} {manifest[key]!r}"
    tokenizer = manifest[key]
    return f"the tokenizer {tokenizer['fingerprint']} of {tokenizer['vocab_size']:,} ids"
