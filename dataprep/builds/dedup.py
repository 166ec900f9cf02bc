"""Step `dedup`: drop a document that repeats an earlier one, exactly or nearly.

The rule needs no clustering. A document that passed the thresholds is dropped if and only if an earlier such
document, kept or not, has the same text, or shares a band bucket with it (among that bucket's 64 earliest)
and an exact Jaccard similarity over word 5-grams of at least the recipe's threshold. Earlier is by
(increment, first_seen, url_key). Only the past decides, so that an incremental build keeps what a one-shot
build keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dataprep.documents import minhash
from dataprep.errors import DataError
from dataprep.recipe import NearDuplicates

REASONS = ("exact_duplicate", "near_duplicate")
EARLIEST = 64
"""Candidates that one bucket gives; keeps a bucket of boilerplate linear."""

ENTRY = np.dtype([("bucket", "<u8"), ("document", "<u4")])
"""One document in one bucket; `document` is its row in the increment's verdicts, which is its order."""

Entries = npt.NDArray[np.void]


@dataclass(frozen=True)
class Index:
    """The buckets of one increment's documents that passed the thresholds.

    bands: (bands, n) of ENTRY, each band sorted by (bucket, document).
    texts: (m,) of ENTRY, sorted, the bucket being the first half of text_key.
    """

    bands: Entries
    texts: Entries

    @staticmethod
    def load(bands: Path, texts: Path) -> Index:
        try:
            return Index(np.load(bands, mmap_mode="r"), np.load(texts, mmap_mode="r"))
        except (ValueError, OSError) as error:
            raise DataError(f"{bands} or {texts}: cannot be read ({error}); run `corpus verify`") from None


@dataclass(frozen=True)
class Passed:
    """The documents of one increment that passed the thresholds, in corpus order.

    documents: (n,) rows in the increment's verdicts, ascending. text_keys: n keys of 16 bytes.
    signatures: (n, 140) uint32. shingles: (n,) numbers of shingles.
    """

    documents: npt.NDArray[np.uint32]
    text_keys: list[bytes]
    signatures: npt.NDArray[np.uint32]
    shingles: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Repeat:
    """Why a document was dropped: the place (index, row) of the earlier one, and their similarity."""

    reason: str
    index: int
    document: int
    similarity: float


def index(passed: Passed, rules: NearDuplicates | None) -> Index:
    """The index of one increment."""
    texts = np.frombuffer(b"".join(key[:8] for key in passed.text_keys), ">u8").astype(np.uint64)
    if rules is None:
        return Index(np.empty((0, 0), ENTRY), _sorted(texts, passed.documents))
    near = passed.shingles > 0
    buckets = minhash.buckets(passed.signatures[near], rules.bands, rules.rows)
    bands = np.empty(buckets.shape, ENTRY)
    for band in range(rules.bands):
        bands[band] = _sorted(buckets[band], passed.documents[near])
    return Index(bands, _sorted(texts, passed.documents))


def find_repeats(
    passed: Passed,
    indexes: Sequence[Index],
    rules: NearDuplicates | None,
    text_key: Callable[[int, int], bytes],
    shingles: Callable[[int, int], minhash.U64],
) -> dict[int, Repeat]:
    """Which documents of the last of `indexes` repeat an earlier one, by their row.

    `text_key` and `shingles` look up a document by (index, row). Memory: the candidates of the increment.
    """
    here = len(indexes) - 1
    repeats: dict[int, Repeat] = {}
    own_key = dict(zip(passed.documents.tolist(), passed.text_keys, strict=True))
    for document, candidates in _candidates([each.texts for each in indexes]):
        for place, other in candidates:
            if text_key(place, other) == own_key[document]:
                repeats[document] = Repeat("exact_duplicate", place, other, 1.0)
                break
    if rules is None:
        return repeats
    pairs: dict[int, set[tuple[int, int]]] = {}
    for band in range(rules.bands):
        for document, candidates in _candidates([each.bands[band] for each in indexes]):
            if document not in repeats:
                pairs.setdefault(document, set()).update(candidates)
    for document, found in sorted(pairs.items()):
        own = shingles(here, document)
        for place, other in sorted(found):
            similarity = minhash.jaccard(own, shingles(place, other))
            if similarity >= rules.threshold:
                repeats[document] = Repeat("near_duplicate", place, other, similarity)
                break
    return repeats


def _candidates(entries: Sequence[Entries]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Each document of the last entries with the earlier ones among its bucket's 64 earliest, in order."""
    own = entries[-1]
    values, starts, counts = np.unique(own["bucket"], return_index=True, return_counts=True)
    ranges = [
        (np.searchsorted(each["bucket"], values, "left"), np.searchsorted(each["bucket"], values, "right"))
        for each in entries[:-1]
    ]
    shared = counts > 1
    for left, right in ranges:
        shared |= right > left
    for bucket in np.flatnonzero(shared):
        earlier: list[tuple[int, int]] = []
        for place, (left, right) in enumerate(ranges):
            rows = entries[place]["document"][left[bucket] : right[bucket]][: EARLIEST - len(earlier)]
            earlier += [(place, int(row)) for row in rows]
        for row in own["document"][starts[bucket] : starts[bucket] + counts[bucket]].tolist():
            if earlier:
                yield row, list(earlier)
            if len(earlier) < EARLIEST:
                earlier.append((len(entries) - 1, row))


def _sorted(buckets: minhash.U64, documents: npt.NDArray[np.uint32]) -> Entries:
    entries = np.empty(len(buckets), ENTRY)
    entries["bucket"], entries["document"] = buckets, documents
    return entries[np.lexsort((documents, buckets))]
