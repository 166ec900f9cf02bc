"""`outbound pack`: the kept documents of a build as token shards.

A shard is an uncompressed webdataset tar whose members are blocks of little-endian tokens; any WebDataset
reader can stream it and the trainer maps it. Documents are shuffled within an increment by a keyed hash of
their doc_id, each is followed by end-of-text, and a held-out split is taken by url_key before. An immutable
`generation-N.json` lists the shards; the next pack adds the documents of new increments as generation N+1 and
re-tokenises nothing. Memory: the tokens of one increment.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.builds import text_shards
from dataprep.builds.text_shards import read_documents
from dataprep.corpus import RECIPE, Build, Corpus
from dataprep.errors import DataError
from dataprep.store import Output, attempt_path, publish, replace, write_once
from dataprep.tokens import tokenizer as bpe
from dataprep.tokens.tokenizer import Tokenizer

FORMAT = "outbound-tokens/1"
SHUFFLE_SEED = 1
DOCUMENT = np.dtype([("start", "<u8"), ("doc_id", "V16")])
"""Where a document starts, in tokens from the start of its shard."""


@dataclass(frozen=True)
class Layout:
    """How tokens are cut into files; `held_out` is the share of URLs in the `val` split."""

    block_tokens: int = 1 << 20
    shard_blocks: int = 256
    held_out: float = 0.005


Documents = list[tuple[bytes, npt.NDArray[np.unsignedinteger[Any]]]]


def pack(
    corpus: Corpus, build: Build, tokenizer: Path, tokens: Path, layout: Layout, tick: Callable[[int], None]
) -> dict[str, Any]:
    """Pack what is new in a build and publish the next generation; returns its manifest.

    Raises DataError when `tokens` holds another build, tokenizer or layout.
    """
    if (tokens / RECIPE).exists():
        raise DataError(f"{tokens}: is a corpus; give the token shards a directory of their own")
    encoder = bpe.load(tokenizer)
    dtype = np.dtype("<u2" if encoder.vocab_size <= 1 << 16 else "<u4")
    last = latest_generation(tokens)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "generation": 1 + (last["generation"] if last else 0),
        "build": build.name,
        "tokenizer": {
            "fingerprint": encoder.fingerprint,
            "vocab_size": encoder.vocab_size,
            "eot": encoder.eot,
        },
        "dtype": dtype.str,
        "block_tokens": layout.block_tokens,
        "held_out": layout.held_out,
        "increments": {},
        "splits": {"train": {"shards": []}, "val": {"shards": []}},
    }
    if last:
        _same(last, manifest, tokens)
        manifest["increments"] = dict(last["increments"])
        for split in manifest["splits"]:
            manifest["splits"][split]["shards"] = list(last["splits"][split]["shards"])
    for name in (bpe.MERGES, bpe.VOCABULARY):
        if not (tokens / "tokenizer" / name).exists():
            replace(tokens / "tokenizer" / name, (tokenizer / name).read_bytes())

    texts: dict[str, list[Output]] = {}
    for increment in corpus.increments():
        if text_shards.complete(build, increment):
            texts[f"{increment.number:04d}"] = text_shards.outputs(build, increment)
    if not any(output.rows for outputs in texts.values() for output in outputs):
        raise DataError(f"{corpus.root}: its current build keeps no document; finish an increment first")
    sources = {increment: identity(outputs) for increment, outputs in texts.items()}
    for name, packed in manifest["increments"].items():
        if sources.get(name) != packed:
            raise DataError(
                f"{tokens}: its increment {name} is not that of {corpus.root}; choose another directory"
            )
    new = [name for name in texts if name not in manifest["increments"]]
    if last and not new:
        return last
    for name in new:
        tars = [corpus.root / output.path for output in texts[name]]
        for split, documents in _encode(tars, encoder, dtype, layout.held_out, tick).items():
            shards = _write(documents, encoder.eot, dtype, tokens, f"{split}-{name}", layout)
            manifest["splits"][split]["shards"] += shards
        manifest["increments"][name] = sources[name]
    for split in manifest["splits"].values():
        split["tokens"] = sum(shard["tokens"] for shard in split["shards"])
        split["documents"] = sum(shard["documents"] for shard in split["shards"])
        split["unigram_entropy_nats"] = _unigram_entropy(tokens, split["shards"], dtype, encoder.vocab_size)
    content = json.dumps(manifest, indent=1).encode()
    if not write_once(tokens / f"generation-{manifest['generation']}.json", content):
        raise DataError(f"{tokens}: another pack published generation {manifest['generation']} meanwhile")
    return manifest


def latest_generation(tokens: Path) -> dict[str, Any] | None:
    """The manifest of the newest generation, or None."""
    numbers = [int(path.stem.partition("-")[2]) for path in tokens.glob("generation-*.json")]
    if not numbers:
        return None
    path = tokens / f"generation-{max(numbers)}.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: is damaged ({error}); remove it and pack again") from None
    return manifest


def identity(outputs: list[Output]) -> str:
    """What tells the texts of one increment from any other's: the hash of their tars' hashes."""
    return xxhash.xxh3_128_hexdigest("".join(output.xxh3_128 for output in outputs).encode())


def _same(last: dict[str, Any], manifest: dict[str, Any], tokens: Path) -> None:
    for key in ("format", "build", "tokenizer", "dtype", "block_tokens", "held_out"):
        if last[key] != manifest[key]:
            raise DataError(
                f"{tokens}: holds {key} {last[key]!r}, not {manifest[key]!r}; choose another directory"
            )


def _encode(
    tars: list[Path],
    encoder: Tokenizer,
    dtype: np.dtype[Any],
    held_out: float,
    tick: Callable[[int], None],
) -> dict[str, Documents]:
    """The documents of one increment as tokens, by split, shuffled."""
    splits: dict[str, list[tuple[int, bytes, npt.NDArray[Any]]]] = {"train": [], "val": []}
    for tar in tars:
        for document in read_documents(tar):
            doc_id, url_key = bytes.fromhex(document["doc_id"]), bytes.fromhex(document["url_key"])
            ids = np.array(encoder.encode(document["text"]), dtype)
            place = xxhash.xxh3_64_intdigest(doc_id, seed=SHUFFLE_SEED)
            split = "val" if int.from_bytes(url_key[:8], "big") < held_out * 2**64 else "train"
            splits[split].append((place, doc_id, ids))
            tick(1)
    return {
        split: [(doc_id, ids) for _, doc_id, ids in sorted(found, key=lambda each: each[:2])]
        for split, found in splits.items()
    }


def _write(
    documents: Documents, eot: int, dtype: np.dtype[Any], tokens: Path, stem: str, layout: Layout
) -> list[dict[str, Any]]:
    """Cut the token stream of some documents into shards; returns their entries in the manifest."""
    if not documents:
        return []
    end = np.array([eot], dtype)
    stream = np.concatenate([piece for _, ids in documents for piece in (ids, end)])
    lengths = np.array([len(ids) + 1 for _, ids in documents], np.uint64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.uint64)
    table = np.empty(len(documents), DOCUMENT)
    table["start"] = starts
    table["doc_id"] = np.array([np.void(doc_id) for doc_id, _ in documents])
    shard_tokens = layout.block_tokens * layout.shard_blocks
    shards = []
    for number, first in enumerate(range(0, len(stream), shard_tokens)):
        last = min(first + shard_tokens, len(stream))
        inside = table[(starts >= first) & (starts < last)].copy()
        inside["start"] -= np.uint64(first)
        shards.append(
            _write_shard(tokens, f"{stem}-{number:05d}", stream[first:last], inside, layout.block_tokens)
        )
    return shards


def _write_shard(
    tokens: Path, stem: str, stream: npt.NDArray[Any], documents: npt.NDArray[np.void], block_tokens: int
) -> dict[str, Any]:
    import webdataset

    written = attempt_path(tokens, stem)
    with written.open("wb") as file, webdataset.TarWriter(file, user="", group="", mtime=0) as tar:
        for number, first in enumerate(range(0, len(stream), block_tokens)):
            block = stream[first : first + block_tokens]
            tar.write({"__key__": f"{stem}-{number:05d}", "bin": block.tobytes()})
    with tarfile.open(written) as tar:
        blocks = [[member.offset_data, member.size // stream.itemsize] for member in tar]
    shard = publish(tokens, written, stem, ".tar")
    buffer = io.BytesIO()
    np.save(buffer, documents)
    written = attempt_path(tokens, f"{stem}.docs")
    written.write_bytes(buffer.getvalue())
    table = publish(tokens, written, f"{stem}.docs", ".npy")
    return {
        "path": shard.path,
        "bytes": shard.bytes,
        "xxh3_128": shard.xxh3_128,
        "tokens": len(stream),
        "documents": len(documents),
        "blocks": blocks,
        "documents_path": table.path,
        "documents_xxh3_128": table.xxh3_128,
    }


def _unigram_entropy(
    tokens: Path, shards: list[dict[str, Any]], dtype: np.dtype[Any], vocab_size: int
) -> float:
    """Entropy of the token frequencies in nats: the loss of a model that knows nothing but them."""
    counts = np.zeros(vocab_size, np.int64)
    for shard in shards:
        for offset, length in shard["blocks"]:
            block = np.fromfile(tokens / shard["path"], dtype, length, offset=offset)
            if len(block) != length:
                raise DataError(f"{tokens / shard['path']}: is cut short; pack into another directory")
            counts += np.bincount(block, minlength=vocab_size)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum())
