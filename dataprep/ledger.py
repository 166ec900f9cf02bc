"""Every record of a corpus, wherever a stage left it, and the files that the records name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dataprep.corpus import Corpus
from dataprep.store import Output, Record, load_record

FOLDERS = ("index", "increments/*/*", "builds/*/*", "builds/*/work/*/*", "forgotten/done")
"""Where records stand, beside what they name. A step that keeps them elsewhere is seen by nobody."""


def folders(corpus: Corpus) -> Iterator[Path]:
    """The directories that belong to stages and steps: each file in them is a record, or named by one."""
    for pattern in FOLDERS:
        yield from sorted(path for path in corpus.root.glob(pattern) if path.is_dir())


def record_paths(corpus: Corpus) -> Iterator[Path]:
    """The paths of all records, those that are damaged, too."""
    for folder in folders(corpus):
        yield from sorted(folder.glob("*.json"))


def records(corpus: Corpus) -> Iterator[tuple[Path, Record]]:
    """All records with their paths; raises DataError for one that is damaged."""
    for path in record_paths(corpus):
        yield path, load_record(path)


def named(corpus: Corpus) -> dict[str, Output]:
    """Every file that a record names, by its path relative to the corpus."""
    return {output.path: output for _, record in records(corpus) for output in record.outputs}
