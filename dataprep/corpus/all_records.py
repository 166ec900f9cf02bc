"""Every record of a corpus, wherever a stage left it, and the files that the records name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dataprep.corpus.directory import Corpus
from dataprep.store.records import Record, load_record

FOLDERS = ("index", "increments/*/*", "builds/*/*", "forgotten/done")
"""Where records stand, beside what they name. A step that keeps them elsewhere is seen by nobody."""
WORK = ("builds/*/work/*/*",)
"""Where they stand while a selection is under way; of one that was stopped nothing is needed."""


def folders(corpus: Corpus, patterns: Iterable[str] = (*FOLDERS, *WORK)) -> Iterator[Path]:
    """The directories that belong to stages and steps: each file in them is a record, or named by one."""
    for pattern in patterns:
        yield from sorted(path for path in corpus.root.glob(pattern) if path.is_dir())


def record_paths(corpus: Corpus, patterns: Iterable[str] = (*FOLDERS, *WORK)) -> Iterator[Path]:
    """The paths of all records, those that are damaged, too."""
    for folder in folders(corpus, patterns):
        yield from sorted(folder.glob("*.json"))


def records(corpus: Corpus) -> Iterator[tuple[Path, Record]]:
    """All records with their paths; raises DataError for one that is damaged."""
    for path in record_paths(corpus):
        yield path, load_record(path)


def accounted(corpus: Corpus) -> set[Path]:
    """Every record that is not of a selection under way, and every file that one names."""
    paths = list(record_paths(corpus, FOLDERS))
    return {*paths, *(corpus.root / output.path for path in paths for output in load_record(path).outputs)}
