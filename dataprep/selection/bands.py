"""Band buckets in files: which documents share a key, sorted by it, mapped when read.

A key is a band's number in its upper five bits and a hash in the others, so that a cut of all keys into equal
ranges goes by band and then by hash. Band 0 is the text's own hash; bands from 1 on are those of the MinHash
signature. A file is a header that says with which hashes it was made, then the keys, then the documents:
12 bytes a document and band.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dataprep.corpus.recipe import NearDuplicates
from dataprep.errors import DataError
from dataprep.text import minhash

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]

FORMAT = "outbound-bands/2"
HEADER_BYTES = 256
HASH_BITS = 59
KEYS_PER_TASK = 1 << 21
"""One task joins about as many keys; it takes some 400 MB of memory."""


@dataclass(frozen=True)
class Scheme:
    """What must be equal in two files whose keys are compared. No bands: only equal texts are found."""

    minhash: int
    bands: int
    rows: int

    @staticmethod
    def of(rules: NearDuplicates | None) -> Scheme:
        return Scheme(minhash.VERSION, rules.bands if rules else 0, rules.rows if rules else 0)

    def cut(self, tasks: int) -> list[tuple[int, int]]:
        """All keys as equal ranges [low, high)."""
        end = (self.bands + 1) << HASH_BITS
        return [(end * task // tasks, end * (task + 1) // tasks) for task in range(tasks)]


@dataclass(frozen=True)
class Buckets:
    """keys: (n,) uint64, sorted. documents: (n,) uint32, ascending among equal keys."""

    keys: U64
    documents: U32

    def within(self, low: int, high: int) -> Buckets:
        """Those whose key is in [low, high), not copied."""
        start, end = np.searchsorted(self.keys, np.array([low, high], np.uint64))
        return Buckets(self.keys[start:end], self.documents[start:end])


EMPTY = Buckets(np.empty(0, np.uint64), np.empty(0, np.uint32))


def buckets(
    documents: U32,
    text_keys: npt.NDArray[np.void],
    signatures: U32,
    near: npt.NDArray[np.bool_],
    scheme: Scheme,
) -> Buckets:
    """The buckets of some documents.

    text_keys: (n,) of 16 bytes. signatures: (n, 140). near: (n,), whether a document has any shingles.
    """
    shift = np.uint64(64 - HASH_BITS)
    keys = [text_keys.view(">u8")[::2].astype(np.uint64) >> shift]
    places = [documents]
    for band in range(scheme.bands):
        hashes = minhash.bucket(signatures[near], band, scheme.rows) >> shift
        keys.append(hashes | np.uint64((band + 1) << HASH_BITS))
        places.append(documents[near])
    return ordered([Buckets(*pair) for pair in zip(keys, places, strict=True)])


def ordered(parts: Sequence[Buckets]) -> Buckets:
    """All of them, in order."""
    keys = np.concatenate([np.empty(0, np.uint64), *(part.keys for part in parts)])
    documents = np.concatenate([np.empty(0, np.uint32), *(part.documents for part in parts)])
    order = np.argsort(keys)
    keys, documents = keys[order], documents[order]
    same = np.zeros(len(keys) + 1, bool)
    same[1:-1] = keys[1:] == keys[:-1]
    tied = np.flatnonzero(same[1:] | same[:-1])
    documents[tied] = documents[tied][np.lexsort((documents[tied], keys[tied]))]
    return Buckets(keys, documents)


def save(path: Path, buckets: Buckets, scheme: Scheme) -> None:
    """Write a file of buckets."""
    header = {"format": FORMAT, **asdict(scheme), "keys": len(buckets.keys)}
    with path.open("wb") as file:
        file.write(json.dumps(header).encode().ljust(HEADER_BYTES - 1) + b"\n")
        file.write(buckets.keys.astype("<u8").data)
        file.write(buckets.documents.astype("<u4").data)


def load(path: Path, scheme: Scheme) -> Buckets:
    """Map a file of buckets.

    Raises DataError when it is damaged or was made by another scheme: keys of two schemes never meet.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(HEADER_BYTES))
        found = Scheme(*(header[name] for name in ("minhash", "bands", "rows")))
        number = header["keys"]
        if header["format"] != FORMAT or path.stat().st_size != HEADER_BYTES + 12 * number:
            raise ValueError("it is cut short or of another format")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: is no whole file of bands ({error}); run `outbound corpus verify`"
        ) from None
    if scheme.bands and found != scheme:
        raise DataError(
            f"{path}: was made with {_words(found)}, and these documents with {_words(scheme)}; make the "
            "build that holds it anew with the same near_duplicates.bands and rows (`outbound corpus "
            "select`), if it is of an older version after `outbound corpus score`"
        )
    if not number:
        return EMPTY
    return Buckets(
        np.memmap(path, "<u8", "r", HEADER_BYTES, (number,)),
        np.memmap(path, "<u4", "r", HEADER_BYTES + 8 * number, (number,)),
    )


def _words(scheme: Scheme) -> str:
    return f"MinHash {scheme.minhash}, {scheme.bands} bands of {scheme.rows} rows"
