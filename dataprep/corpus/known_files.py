"""Which files of a corpus its `manifest.json` names: those that no other file names.

Step files name the records of their parts, and these the files with content. Records of a crawl under way are
named here until `fetch` and `retry` have step files: they cannot be made again, as the web changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path

from dataprep.corpus.frozen import FROZEN
from dataprep.corpus.tombstones import done_path, tombstone_path, unfinished
from dataprep.errors import DataError
from dataprep.store import root_manifest
from dataprep.store.checksummed_json import RESTORE
from dataprep.store.files import hash_file
from dataprep.store.records import load_step, step_path

RECIPE = "recipe.yaml"
REPORT_FILES = ("report.html", "overlap.jsonl", "opt-outs.json")
"""Files that commands write about a corpus, and write again when asked."""

CHECKED = (
    FROZEN,
    "forgotten/[0-9]*.json",
    "forgotten/done/[0-9]*.json",
    "increments/[0-9]*-*/*.json",
    "builds/current",
    "builds/*/*.json",
    "builds/*/[0-9]*-*/*.json",
)
"""Files that check themselves: by a hash at their beginning, or, like `current`, by what they name."""
PLAIN = (RECIPE, "quality-*.safetensors", *REPORT_FILES)
REMADE = ("dumps.json", "links.step.json", "extract.step.json", "score.step.json", "increment.json")
"""Files of an increment that its own command makes again, with the same bytes."""
LED = ("fetch", "retry")
"""Steps whose records are named while they are under way."""


def remember(root: Path) -> None:
    """Add the files that are there to the manifest; raises DataError when it is missing or damaged."""

    @cache
    def parts(path: Path) -> frozenset[str]:
        return frozenset(record.part for record in load_step(path).parts) if path.exists() else frozenset()

    def is_summed_up(name: str) -> bool:
        folder, part = (root / name).parent, Path(name).stem
        return folder.name in LED and part in parts(step_path(folder.parent, folder.name))

    root_manifest.remember(root, _checked(root), _matching(root, PLAIN), is_summed_up)


@contextmanager
def remembering(root: Path) -> Iterator[None]:
    """Name what stands before and after some work, also where that fails."""
    remember(root)
    try:
        yield
    except BaseException:
        with suppress(Exception):  # what went wrong first is what counts
            remember(root)
        raise
    remember(root)


@contextmanager
def rewriting(root: Path, path: Path) -> Iterator[None]:
    """Write one of the files anew whose hash is kept, or a file elsewhere."""
    if path.resolve().parent != root.resolve():
        yield
        return
    root_manifest.release(root, [path.name])
    yield
    root_manifest.release(root, [path.name])  # another command may have named its own one meanwhile
    remember(root)


def take_recipe(root: Path) -> None:
    """Let an edited recipe be the one that counts."""
    if root_manifest.known(root).get(RECIPE) != hash_file(root / RECIPE):
        root_manifest.release(root, [RECIPE])
        remember(root)


def accept(root: Path) -> list[str]:
    """Let the manifest name the files that are there, as they are; returns what is given up (`reset`)."""
    gone = root_manifest.reset(root)
    remember(root)
    return gone


def refuse_losses(root: Path, remaking: bool = False) -> None:
    """Raise DataError when facts of a corpus are missing; builds are made again from them.

    remaking: the command makes an increment, so what it makes from dumps and pages may be missing.
    """

    def is_needed(name: str) -> bool:
        made = remaking and name.startswith("increments/") and Path(name).name in REMADE
        return not (made or name in REPORT_FILES or name.startswith("builds/"))

    root_manifest.refuse_losses(root, lambda name: remedy(root, name), is_needed)


def unfinished_forget(root: Path) -> str:
    """What to do about a forget that was begun and not finished, "" if there is none."""
    number = unfinished(root)
    if number is None:
        return ""
    with suppress(DataError):
        if str(done_path(root, number).relative_to(root)) in root_manifest.known(root):
            return ""  # it was finished, and the record of that is lost
    path = tombstone_path(root, number)
    return f"{path}: was not carried out to its end; `outbound corpus forget {root}` finishes it"


def not_known_yet(root: Path) -> list[str]:
    """The files that stand and that the manifest should name and does not, relative to the corpus."""
    named = root_manifest.known(root)
    paths = chain(_checked(root), _matching(root, PLAIN))
    return sorted(name for path in paths if (name := str(path.relative_to(root))) not in named)


def remedy(root: Path, name: str) -> str:
    """What to do about a missing or damaged file, by its path in the corpus, in words for a person."""
    place = Path(name).parts
    if name in REPORT_FILES:
        command = "opt-outs --check" if name == "opt-outs.json" else Path(name).stem
        return f"`outbound corpus {command} {root}` makes it again"
    if name == "builds/current":
        return f"{RESTORE}, or `outbound corpus select {root}` makes a build current"
    if place[0] == "builds":
        if _is_old_build(root, place[1]):
            return f"{RESTORE}, or let `outbound corpus gc {root} --builds current` remove old builds"
        return f"{RESTORE}, or remove builds/{place[1]} and make it again: `outbound corpus select {root}`"
    if place[0] == "increments" and place[-1] == "increment.json":
        return f"{RESTORE}, or run the `outbound corpus add` or `import` of that increment again"
    if place[0] == "increments" and not was_closed(root, place[1]):
        _, _, increment = place[1].partition("-")
        return f"{RESTORE}, or begin anew after `outbound corpus drop {root} {increment}`"
    return RESTORE


def _is_old_build(root: Path, build: str) -> bool:
    with suppress(OSError):
        return (root / "builds" / "current").read_bytes() != f"{build}\n".encode()
    return False


def was_closed(root: Path, increment: str) -> bool:
    """Whether an increment is closed, or has lost the file by which it was; yes if the manifest is lost."""
    name = f"increments/{increment}/increment.json"
    with suppress(DataError):
        return (root / name).exists() or name in root_manifest.known(root)
    return True


def _matching(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    return chain.from_iterable(map(root.glob, patterns))


def _checked(root: Path) -> Iterator[Path]:
    """The files that check themselves, with the records of crawls under way."""
    yield from _matching(root, CHECKED)
    for step in LED:
        for folder in root.glob(f"increments/[0-9]*-*/{step}"):
            if not step_path(folder.parent, step).exists():
                yield from folder.glob("*.json")
