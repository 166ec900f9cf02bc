"""`outbound pack`: the kept documents of a build as token shards.

A shard is an uncompressed webdataset tar whose members are blocks of little-endian tokens; any WebDataset
reader can stream it and the trainer maps it. Documents are shuffled within an increment by a keyed hash of
their doc_id, each is followed by end-of-text, and a held-out split is taken by url_key before. An immutable
`generation-N.json` lists the shards; the next pack adds the documents of new increments as generation N+1 and
re-tokenises nothing.

Two steps, both of independent tasks that leave a record each: text shards become sorted runs of tokens
(`tokenize`), and these are merged into token shards (`merge`). What is killed goes on from the records.
`join` shares the tasks of one pack between many processes.
"""

from __future__ import annotations

import dataclasses
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from dataprep.corpus.directory import JOBS, Build, Corpus
from dataprep.corpus.known_files import RECIPE
from dataprep.errors import DataError
from dataprep.pack import manifest, merge
from dataprep.pack.manifest import FORMAT, SPLITS, Generation, Split, TokenizerIdentity, latest_generation
from dataprep.pack.packing import Layout, Packing
from dataprep.pack.steps import STEPS
from dataprep.shards import text_shards
from dataprep.shards.text_shards import TextShard
from dataprep.store import root_manifest
from dataprep.store.pool import Progress
from dataprep.store.records import records_in
from dataprep.store.requests import Pending, newest
from dataprep.store.step import Executor, LocalPool, run_steps
from dataprep.store.workers import is_anyone_at_work
from dataprep.tokenizer import tokenizer

WORTH_A_PROCESS = 8 << 20
"""Bytes of text that take longer to tokenise than a process to start."""


def pack(
    corpus: Corpus,
    build: Build,
    source: Path,
    tokens: Path,
    layout: Layout,
    workers: int,
    progress: Progress,
) -> Generation:
    """Pack what is new in a build with the tokenizer at `source`, publish the next generation, return it.

    The caller holds the lock of `tokens` (`store.locks.alone`). Raises as `next_generation` and `make`, and
    DataError while processes that pack together are at work there.
    """
    if is_anyone_at_work(tokens):
        raise DataError(
            f"{tokens}: is being packed by processes with --join; give --join, too, or wait until they have "
            "ended"
        )
    generation, packing = next_generation(corpus, build, source, tokens, layout)
    if packing:
        texts = (text for increment in packing.increments for text in packing.texts(increment))
        worth = sum(text.tar.bytes for text in texts) // WORTH_A_PROCESS
        generation = make(generation, packing, source, LocalPool(max(1, min(workers, worth))), progress)
    manifest.remember(tokens)
    tidy(tokens)
    return generation


def next_generation(
    corpus: Corpus, build: Build, source: Path, tokens: Path, layout: Layout
) -> tuple[Generation, Packing | None]:
    """The generation to publish next, without its new shards, and the pack that makes these.

    When nothing is new, the newest generation and None. Raises DataError when `tokens` holds another build,
    tokenizer or layout.
    """
    if (tokens / RECIPE).exists():
        raise DataError(f"{tokens}: is a corpus; give the token shards a directory of their own")
    if not manifest.generations(tokens):
        root_manifest.create(tokens)
    manifest.refuse_losses(tokens)
    texts = _texts(corpus, build)
    sources = {name: manifest.identity([text.tar for text in found]) for name, found in texts.items()}
    last = latest_generation(tokens)
    generation = _next(build, source, layout, last)
    if last:
        _refuse_others(last, generation, tokens)
    for name, packed in generation.increments.items():
        if sources.get(name) != packed:
            raise DataError(
                f"{tokens}: its increment {name} is not that of {corpus.root}; choose another directory, or, "
                f"if text was forgotten there, run `outbound corpus forget {corpus.root} --tokens {tokens}`"
            )
    new = {name: texts for name, texts in sources.items() if name not in generation.increments}
    if last and not new:
        return last, None
    return generation, Packing(
        tokens=tokens,
        corpus=corpus.root.resolve(),
        build=build.name,
        increments=new,
        identity=generation.tokenizer,
        dtype=generation.dtype,
        held_out=layout.held_out,
        block_tokens=layout.block_tokens,
        shard_blocks=layout.shard_blocks,
    )


def layout_of(
    tokens: Path, block_tokens: int | None, shard_blocks: int | None, held_out: float | None
) -> Layout:
    """What is given, and for the rest what the packs before had, or the one under way; else the defaults."""
    layout = dataclasses.asdict(Layout())
    for earlier in (*Packing.under_way(tokens), latest_generation(tokens)):
        layout |= {key: getattr(earlier, key) for key in layout if hasattr(earlier, key)}
    given = {"block_tokens": block_tokens, "shard_blocks": shard_blocks, "held_out": held_out}
    return Layout(**layout | {key: value for key, value in given.items() if value is not None})


def make(
    generation: Generation, packing: Packing, source: Path, execute: Executor, progress: Progress
) -> Generation:
    """Make the shards of a pack with an executor, and publish the generation that they belong to.

    Any number of processes may do this at once. Raises DataError when one has published it already.
    """
    tokens = packing.tokens
    packing.save()
    manifest.refuse_published(tokens, generation)  # else what a slow process begins anew would be in vain
    if not (execute.joins and _has_tokenizer(packing)):
        root_manifest.release(tokens, ["tokenizer"])
        tokenizer.copy(source, packing.tokenizer)
    run_steps(STEPS, packing, execute, progress)
    return manifest.publish(tokens, _with(generation, packing))


def _has_tokenizer(packing: Packing) -> bool:
    """Whether the copy of the tokenizer is whole: its last file is there, and those before it are right."""
    with suppress(DataError):
        copied = tokenizer.load(packing.tokenizer).fingerprint == packing.identity.fingerprint
        return copied and (packing.tokenizer / tokenizer.HUGGINGFACE).is_file()
    return False


def _with(generation: Generation, packing: Packing) -> Generation:
    """A generation with the shards that a pack has made."""
    made = [(record.part, merge.entry(record)) for record in records_in(packing.places["pack"] / "merge")]
    splits = {}
    for split in SPLITS:
        added = [shard for name, shard in made if name.startswith(f"{split}-")]
        listed = [*generation.splits[split].shards, *added]
        splits[split] = manifest.split_of(packing.tokens, listed, generation.tokenizer.vocab_size)
    return replace(generation, splits=splits, increments=generation.increments | packing.increments)


def tidy(tokens: Path) -> None:
    """Remove what only unfinished packs need; while others are at work, only that of packs that are done.

    Whoever ends last removes the rest. What is to go is listed before we look whether others are at work: so
    it holds nothing of a command that begins just then.
    """
    last = latest_generation(tokens)
    for packing in Packing.under_way(tokens):
        if last and not last.increments.keys().isdisjoint(packing.increments):
            packing.discard()
    jobs = tokens / JOBS
    folders = [tokens / "runs", *(jobs / name for name in ("runs", "workers", "exclusive"))]
    try:
        left = [*(path for folder in folders for path in folder.glob("*")), *manifest.unnamed(tokens)]
    except FileNotFoundError:  # another process tidies
        return
    if Packing.under_way(tokens) or is_anyone_at_work(tokens) or Pending(tokens).stands(newest(tokens)):
        return
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in (*folders, jobs):
        with suppress(OSError):
            folder.rmdir()


def _texts(corpus: Corpus, build: Build) -> dict[str, list[TextShard]]:
    """The text shards of each increment that is whole. Raises DataError when they hold no document."""
    texts = {
        increment.key: text_shards.shards(build, increment)
        for increment in corpus.increments()
        if text_shards.complete(build, increment)
    }
    if not any(texts.values()):
        raise DataError(
            f"{corpus.root}: its current build keeps no document; `outbound corpus status` says why: "
            "add more, or select less strictly"
        )
    return texts


def _next(build: Build, source: Path, layout: Layout, last: Generation | None) -> Generation:
    """The generation after `last`, with nothing added yet."""
    encoder = tokenizer.load(source)
    return Generation(
        format=FORMAT,
        number=1 + (last.number if last else 0),
        build=build.name,
        tokenizer=TokenizerIdentity(
            fingerprint=encoder.fingerprint, vocab_size=encoder.vocab_size, eot=encoder.eot
        ),
        dtype=np.dtype("<u2" if encoder.vocab_size <= 1 << 16 else "<u4").str,
        block_tokens=layout.block_tokens,
        held_out=layout.held_out,
        increments=last.increments if last else {},
        splits=last.splits if last else {split: Split() for split in SPLITS},
    )


def _refuse_others(last: Generation, next_: Generation, tokens: Path) -> None:
    """Raise DataError when what a directory holds was made from or with other things."""
    for key in ("build", "tokenizer", "dtype", "block_tokens", "held_out"):
        then, now = getattr(last, key), getattr(next_, key)
        if then != now:
            raise DataError(
                f"{tokens}: holds {described(key, then)}, not {described(key, now)}; choose another directory"
            )


def described(key: str, value: Any) -> str:
    """A setting in words; a tokenizer by what `outbound tokenizer info` says of it."""
    if isinstance(value, TokenizerIdentity):
        return f"the tokenizer {value.fingerprint} of {value.vocab_size:,} ids"
    return f"{key} {value!r}"
