"""Every record and step file of a corpus, wherever `steps.STEPS` puts them, and the files that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dataprep.corpus import known_files
from dataprep.corpus.directory import INDEX, PLACES, Corpus
from dataprep.corpus.tombstones import done_folder
from dataprep.errors import DataError
from dataprep.steps import BY_NAME, STEPS
from dataprep.store import root_manifest
from dataprep.store.records import Record, load_record, load_step, step_path
from dataprep.store.step import Step

INDEXES = ("index", f"builds/*/*/{INDEX}")
"""Folders in which no record stands, and whose files the records of other folders name."""


def step_files(corpus: Corpus) -> Iterator[tuple[Step[Any], Path]]:
    """The files of all finished steps, those that are damaged, too."""
    for step in STEPS:
        for path in sorted(corpus.root.glob(f"{PLACES[step.at]}/{step.name}.step.json")):
            yield step, path


def step_folders(corpus: Corpus, temporary: bool = True) -> Iterator[tuple[Step[Any], Path]]:
    """The folders of all steps, begun or finished: each file there is a record, or one names it."""
    for step in STEPS:
        if temporary or not step.temporary or step.at == "facts":
            for path in sorted(corpus.root.glob(f"{PLACES[step.at]}/{step.name}")):
                yield step, path


def record_paths(corpus: Corpus, temporary: bool = True) -> Iterator[tuple[Step[Any] | None, Path]]:
    """The paths of all records with their steps; those of tombstones that were carried out have none.

    temporary: those of a selection under way, too, of which nothing is needed if it was stopped.
    """
    for step, folder in step_folders(corpus, temporary):
        for path in sorted(folder.glob("*.json")):
            yield step, path
    for path in sorted(done_folder(corpus.root).glob("*.json")):
        yield None, path


def records(corpus: Corpus) -> Iterator[tuple[Step[Any] | None, Path, Record]]:
    """All records with their steps and paths; raises DataError for one that is damaged."""
    for step, path in record_paths(corpus):
        yield step, path, load_record(path)


def accounted(corpus: Corpus) -> set[Path]:
    """Every record that is not of a selection under way, and every file that a record or step file names."""
    found = set[Path]()
    for _, path in record_paths(corpus, temporary=False):
        found |= {path, *(corpus.root / output.path for output in load_record(path).outputs.values())}
    for _, path in step_files(corpus):
        parts = load_step(path).parts
        found |= {corpus.root / output.path for part in parts for output in part.outputs.values()}
    return found


def lost(corpus: Corpus) -> Iterator[str]:
    """Files that the manifest, the summary of an increment or a step file names and that do not stand.

    Paths are relative to the corpus. Raises DataError when one of these cannot be read.
    """
    yield from root_manifest.lost(corpus.root)
    expected = [
        step_path(increment.path, step.name)
        for increment in corpus.increments()
        for step in STEPS
        if increment.closed and step.at == "facts" and not step.temporary
    ]
    for step, path in step_files(corpus):
        expected += [path.parent / step.name / f"{part.part}.json" for part in load_step(path).parts]
    yield from (str(path.relative_to(corpus.root)) for path in expected if not path.exists())


def refuse_losses(corpus: Corpus, given_up: Collection[Path] = ()) -> None:
    """Raise DataError when a file is missing that named others: what seems to be garbage may be just these.

    given_up: directories of which nothing is needed.
    """
    for name in lost(corpus):
        path = corpus.root / name
        needed = not any(path.is_relative_to(directory) for directory in given_up)
        if needed and name not in known_files.REPORT_FILES:
            raise DataError(
                f"{path}: is missing; {known_files.remedy(corpus.root, name)}. Until then nothing is removed "
                "here: what looks like garbage may be what this file named"
            )


def folders(corpus: Corpus) -> list[Path]:
    """The folders in which every file must be accounted for."""
    found = [folder for _, folder in step_folders(corpus, temporary=False)]
    found += [folder for pattern in INDEXES for folder in corpus.root.glob(pattern)]
    found += list(corpus.root.glob("increments/*/pages"))
    done = done_folder(corpus.root)
    return sorted(folder for folder in {*found, done} if folder.is_dir())


def refuse_unknown_steps(corpus: Corpus) -> None:
    """Raise DataError for records of a step that this version of outbound does not know."""
    for pattern in set(PLACES.values()):
        for path in corpus.root.glob(f"{pattern}/*.step.json"):
            _refuse_unknown(path, path.name.removesuffix(".step.json"))
        for path in corpus.root.glob(f"{pattern}/*/*.json"):
            if not path.name.endswith(".step.json"):
                _refuse_unknown(path, path.parent.name)


def _refuse_unknown(path: Path, step: str) -> None:
    if step not in BY_NAME:
        raise DataError(
            f"{path}: is of a step that this version of outbound does not know, so it cannot forget in it; "
            "use the version that made it"
        )
