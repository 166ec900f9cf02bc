"""Tombstones: what a corpus has forgotten, and what it must remember of that to stay the same.

`forgotten/NNNN.json` is written before anything is removed, and never changes. It says what stays out: URLs
by their keys, sites, submissions. It is unfinished until `forgotten/done/NNNN.json` stands beside it, a
record whose table keeps of every forgotten document the hashes of its shingles, and no text: copies that it
displaced stay dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.urls import Canonical, canonical, is_public_suffix, names_above
from dataprep.errors import DataError
from dataprep.store.checksummed_json import RESTORE, load
from dataprep.store.files import Output, read_table
from dataprep.store.records import load_record
from dataprep.text import minhash

FOLDER = "forgotten"
REASON = "forgotten"
"""Why a link does not enter, and the verdict on a document whose text is gone."""

SCHEMA = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("increment", pa.int32()),
        ("part", pa.int32()),
        ("row", pa.int32()),
        ("shingles", pa.list_(pa.uint64())),
    ]
)
"""What stays of a document: where its row stands, and its shingles (`minhash.shingles`), sorted."""


@dataclass(frozen=True)
class Tombstone:
    """One thing that was forgotten. url_keys are hex; submissions are ids as dumps spell them."""

    url_keys: list[str] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)
    submissions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Forgotten:
    """All that stays out of a corpus."""

    url_keys: frozenset[bytes]
    sites: frozenset[str]
    submissions: frozenset[str]

    @staticmethod
    def of(root: Path) -> Forgotten:
        """What the tombstones of a corpus say together."""
        found = tombstones(root).values()
        return Forgotten(
            frozenset(bytes.fromhex(key) for tombstone in found for key in tombstone.url_keys),
            frozenset(site for tombstone in found for site in tombstone.sites),
            frozenset(name for tombstone in found for name in tombstone.submissions),
        )

    def covers(self, link: Canonical) -> bool:
        """Whether a link must stay out; a public suffix keeps out all sites below it."""
        if link.key in self.url_keys or link.site in self.sites:
            return True
        above = names_above(link.site)
        return any(name in self.sites and is_public_suffix(name) for name in above)

    def names(self, url: str) -> bool:
        """Whether a URL, in whatever spelling, is that of a link from which nothing is taken."""
        try:
            return bool(self.url_keys or self.sites) and self.covers(canonical(url))
        except ValueError:
            return False


NO_TOMBSTONES = Forgotten(frozenset(), frozenset(), frozenset())


def tombstones(root: Path) -> dict[int, Tombstone]:
    """The tombstones of a corpus by number, finished or not.

    Raises DataError when one that was carried out is gone: what it names would come in again.
    """
    found = {}
    for path in sorted((root / FOLDER).glob("[0-9]*.json")):
        if path.stem.isdigit():
            found[int(path.stem)] = load(path, Tombstone)
    for path in _done(root):
        if int(path.stem) not in found:
            raise DataError(f"{tombstone_path(root, int(path.stem))}: is missing; {RESTORE}")
    return found


def tombstone_path(root: Path, number: int) -> Path:
    """Where a tombstone stands."""
    return root / FOLDER / f"{number:04d}.json"


def done_path(root: Path, number: int) -> Path:
    """Where the record stands that says that a forget is finished."""
    return done_folder(root) / f"{number:04d}.json"


def done_folder(root: Path) -> Path:
    """Where the records of tombstones that were carried out stand."""
    return root / FOLDER / "done"


def unfinished(root: Path) -> int | None:
    """The number of the forget that was begun and not finished, if there is one."""
    for number in tombstones(root):
        if not done_path(root, number).exists():
            return number
    return None


def documents(root: Path) -> frozenset[bytes]:
    """The doc_ids of all documents that were forgotten. Memory: about 80 bytes each."""
    return frozenset(read_table(root, _tables(root), ["doc_id"])["doc_id"].to_pylist())


def refuse_old_shingles(root: Path) -> None:
    """Raise DataError when forgotten documents are remembered by shingles that those of now do not meet."""
    for path in _done(root):
        then = load_record(path).versions["minhash"]
        if int(then) < minhash.SHINGLES:
            raise DataError(
                f"{path}: remembers forgotten documents by MinHash {then}, whose shingles are not those "
                f"of MinHash {minhash.VERSION}: copies of what was forgotten would come back. Use the "
                "outbound that scored the corpus, or ingest its dumps anew into another corpus"
            )


def shingles(root: Path, increment: int, part: int) -> dict[int, npt.NDArray[np.uint64]]:
    """The shingles of the forgotten documents of one partition, by row."""
    where = [("increment", "=", increment), ("part", "=", part)]
    table = read_table(root, _tables(root), ["row", "shingles"], where)
    return {
        row: hashes.values.to_numpy().astype(np.uint64)
        for row, hashes in zip(table["row"].to_pylist(), table["shingles"], strict=True)
    }


def _tables(root: Path) -> list[Output]:
    return [load_record(path).outputs["documents"] for path in _done(root)]


def _done(root: Path) -> list[Path]:
    return sorted(done_folder(root).glob("*.json"))
