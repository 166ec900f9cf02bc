"""`corpus gc`: find what no record names, and remove it.

Garbage is what killed commands left: files of attempts, files that were published when their record was not
yet written, journals of crawls whose increment is closed, indexes and directories of dropped increments. It
is looked for in the corpus's own folders only; a file of yours beside them is never touched.

A command that runs is safe twice. `gc` works while no other command holds the corpus's lock (`locks.py`). And
where a filesystem keeps no locks over nodes, the file of an attempt says its host and process: it stays while
that process lives, or, if it is another host's, until nobody has written to it for a day.
"""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataprep import all_records
from dataprep.corpus.directory import JOBS, Build, Corpus
from dataprep.crawl import hop_plan
from dataprep.store import root_manifest
from dataprep.store.checksummed_json import load_or_none
from dataprep.store.workers import Pulses, Worker, is_alive, workers_folder

VERIFY = "verify"
"""The stage of workers that verify, and the folder in `jobs` of what they share."""
VERIFIED = "verified"
"""The stage of workers that have verified, and the folder in `jobs` of what the last one removes."""
QUIET_S = 24 * 3600
"""How long an attempt of another host must have written nothing to be dead."""

_ATTEMPT = re.compile(r"\..*\.(?P<host>[^/]+)\.(?P<pid>\d+)\.part")


@dataclass(frozen=True)
class Garbage:
    """A file or directory to remove; `bytes` is what that frees."""

    path: Path
    why: str
    bytes: int


def find(corpus: Corpus, only_current_build: bool = False, quiet_s: float = QUIET_S) -> list[Garbage]:
    """All garbage of a corpus, in the order of paths.

    only_current_build: count builds that are not current as garbage, too. Their facts stay, so
    `corpus select` makes them again.

    Raises DataError when a file is missing that may have named what no other names.
    """
    old = _old_builds(corpus) if only_current_build and corpus.has_build else []
    all_records.refuse_losses(corpus, given_up=old)
    found = [*_unnamed(corpus, quiet_s), *_attempts(corpus, quiet_s), *_dropped(corpus, quiet_s)]
    found += [_garbage(path, "a build that is not current") for path in old]
    whole = {garbage.path for garbage in found}
    return sorted(
        (garbage for garbage in found if whole.isdisjoint(garbage.path.parents)),
        key=lambda garbage: garbage.path,
    )


def remove(corpus: Corpus, garbage: list[Garbage]) -> None:
    """Remove garbage. Killed, it is done by running it again."""
    root_manifest.release(corpus.root, [str(piece.path.relative_to(corpus.root)) for piece in garbage])
    for piece in garbage:
        if piece.path.is_dir() and piece.path.is_relative_to(corpus.root / "builds"):
            corpus.discard(piece.path)
        elif piece.path.is_dir():
            shutil.rmtree(piece.path)
        else:
            piece.path.unlink(missing_ok=True)


def is_running(attempt: Path, quiet_s: float = QUIET_S) -> bool:
    """Whether the command that writes a file of an attempt may still be at work."""
    match = _ATTEMPT.fullmatch(attempt.name)
    if not match:
        return False
    if match["host"] != socket.gethostname():
        return time.time() - attempt.stat().st_mtime < quiet_s
    return is_alive(int(match["pid"]))


def _unnamed(corpus: Corpus, quiet_s: float) -> Iterator[Garbage]:
    """Files that no record names, in the folders of steps."""
    known = all_records.accounted(corpus)
    open_pages = {increment.path / "pages" for increment in corpus.increments() if not increment.closed}
    for folder in all_records.folders(corpus):
        if folder in open_pages:  # a crawl goes on from its journals and WARC files
            continue
        for path in sorted(folder.iterdir()):
            if path.is_dir() or path in known or is_running(path, quiet_s):
                continue
            kind = "a killed attempt's file" if _ATTEMPT.fullmatch(path.name) else "no record names it"
            yield _garbage(path, kind)


def _attempts(corpus: Corpus, quiet_s: float) -> Iterator[Garbage]:
    """Files of attempts at what stands outside the folders of steps: `increment.json`, `current` ..."""
    folders = {*all_records.folders(corpus), *(folder for _, folder in all_records.step_folders(corpus))}
    for path in sorted(corpus.root.rglob(".*.part")):
        if path.parent not in folders and _ATTEMPT.fullmatch(path.name) and not is_running(path, quiet_s):
            yield _garbage(path, "a killed attempt's file")


def _dropped(corpus: Corpus, quiet_s: float) -> Iterator[Garbage]:
    workers, pulses = sorted(workers_folder(corpus.root).glob("*.json")), Pulses(corpus.root)
    ended = [
        path for path in workers if pulses.is_dead(path.stem) or time.time() - path.stat().st_mtime > quiet_s
    ]
    for path in ended:
        yield _garbage(path, "a worker that has ended")
    alive = {_stage(path) for path in workers if path not in ended}
    if alive <= {VERIFY, VERIFIED}:  # workers of other stages go on with it after this command
        yield from _stopped(corpus)
    if alive.isdisjoint({VERIFY, VERIFIED, ""}) and (left := corpus.root / JOBS / VERIFY).exists():
        yield _garbage(left, "a verification that was stopped")
    for path in sorted((corpus.root / "increments").glob(".dropped-*")):
        yield _garbage(path, "a dropped increment")


def _stage(worker: Path) -> str:
    """The stage of a worker by its file, "" if that cannot be read."""
    found = load_or_none(worker, Worker)
    return found.stage if found else ""


def stopped_plans(corpus: Corpus) -> list[Path]:
    """All plans that no crawl needs to go on: commands make them again."""
    needed = [hop_plan.folder(increment) for increment in corpus.increments() if hop_plan.is_open(increment)]

    def stopped(path: Path) -> Iterator[Path]:
        if path.exists() and path not in needed:
            if any(each.exists() and path in each.parents for each in needed):
                for below in sorted(path.iterdir()):
                    yield from stopped(below)
            else:
                yield path

    return [each for path in corpus.plans() for each in stopped(path)]


def _stopped(corpus: Corpus) -> Iterator[Garbage]:
    """What commands that were stopped had begun."""
    for path in _builds(corpus, corpus.build):
        if not any(path.glob("*/*.step.json")):
            yield _garbage(path, "a build that was begun and decided nothing")
    for path in sorted((corpus.root / "builds").glob("*/*/work")):
        yield _garbage(path, "steps of a selection that was stopped")
    for path in sorted((corpus.root / "increments").glob("*/work")):
        yield _garbage(path, "what a stopped command had read of dumps")
    for path in stopped_plans(corpus):
        if path != corpus.root / JOBS / VERIFY:
            yield _garbage(path, "plans of steps that were stopped")


def _builds(corpus: Corpus, current: Build | None) -> list[Path]:
    """The directories of all builds but the current one."""
    found = sorted(path for path in (corpus.root / "builds").glob("*") if path.is_dir())
    return [path for path in found if current is None or path != current.path]


def _old_builds(corpus: Corpus) -> list[Path]:
    """The directories of all builds but the current one, also of those that only the manifest still names."""
    current = corpus.current_build()
    places = (Path(name).parts for name in root_manifest.known(corpus.root))
    named = {corpus.named_build(parts[1]).path for parts in places if parts[0] == "builds" and len(parts) > 2}
    return sorted({*_builds(corpus, current), *named} - {current.path})


def _garbage(path: Path, why: str) -> Garbage:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return Garbage(path, why, sum(file.stat().st_size for file in files))
