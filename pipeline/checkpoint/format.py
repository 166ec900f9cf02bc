"""Checkpoints of our own: whole tensors by canonical name in safetensors, and one JSON that lists them.

    checkpoints/step-00000100/rank-00000.safetensors ...   each rank's share, hashed while it is written
    checkpoints/step-00000100/checkpoint.json              sizes, hashes, the state of `run_state.py`

They lie in the folder of the attempt that saved them. Everything is written beside and made current by one
rename. No pickle anywhere: opening a stranger's checkpoint executes nothing. Tensors are unpadded fp32, so
any layout loads what any other has saved.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash
from safetensors import SafetensorError, safe_open

from dataprep.store import files
from pipeline.checkpoint import attempts
from pipeline.checkpoint.run_state import RunState
from pipeline.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "outbound-checkpoint/1"
MANIFEST = "checkpoint.json"
log = logging.getLogger("outbound")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, its JSON read and whole, its tensors not yet."""

    path: Path
    state: RunState
    files: dict[str, dict[str, Any]]
    """File name -> its bytes and xxh3_128."""
    tensors: dict[str, str]
    """Tensor name -> file name."""
    _opened: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """File name -> the file, its header read and its tensors mapped."""

    @staticmethod
    def open(path: Path) -> Checkpoint:
        """Read the JSON; RunError when it is missing, torn, altered, or of another format."""
        try:
            envelope = json.loads((path / MANIFEST).read_bytes())
            body = envelope["checkpoint"]
            if envelope["xxh3_128"] != _hash_json(body):
                raise RunError(f"{path / MANIFEST}: was altered: its hash does not fit")
            if body["format"] != FORMAT:
                raise RunError(f"{path / MANIFEST}: format {body['format']!r}, expected {FORMAT!r}")
            listed = {
                name: {k: facts[k] for k in ("bytes", "xxh3_128")} for name, facts in body["files"].items()
            }
            named = {*listed, *body["tensors"].values()}
            if strange := [name for name in named if name not in listed or Path(name).name != name]:
                raise RunError(f"{path / MANIFEST}: {strange[0]!r} is none of its files")
            if missing := {entry.name for entry in fields(RunState)} - {*body["state"]}:
                raise RunError(f"{path / MANIFEST}: its state lacks {', '.join(sorted(missing))}")
            return Checkpoint(path, RunState(**body["state"]), listed, body["tensors"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path / MANIFEST}: not readable: {error}") from None

    def first_damage(self, names: Iterable[str]) -> str | None:
        """Compare files with their recorded size and hash; say what is wrong with the first bad one."""
        for name in names:
            file, recorded = self.path / name, self.files[name]
            if not file.exists():
                return f"{file} is missing"
            if file.stat().st_size != recorded["bytes"]:
                return f"{file} has {file.stat().st_size} bytes, not {recorded['bytes']}"
            if files.hash_file(file) != recorded["xxh3_128"]:
                return f"{file} was altered: its hash does not fit"
        return None

    def tensor(self, name: str) -> Tensor:
        """Read one tensor, such as "weight/h.0.attn.qkv.weight" or "exp_avg/wte.weight".

        Raises RunError when it is not there.
        """
        if name not in self.tensors:
            raise RunError(f"{self.path / MANIFEST}: lists no tensor {name}: is it of another model?")
        file = self.tensors[name]
        try:
            tensor: Tensor = self._open(file).get_tensor(name)
        except SafetensorError as error:
            raise self._unreadable(file, error) from None
        return tensor

    def open_all(self) -> Checkpoint:
        """Open all files, so that tensors can be read even after a training has let go of the checkpoint."""
        for file in self.files:
            self._open(file)
        return self

    def link_into(self, folder: Path) -> None:
        """Give an attempt's folder a checkpoint of its own that nobody else can let go of.

        Its files are hard links, or copies where the filesystem does not link across directories. Raises
        FileNotFoundError when its owner lets go of it meanwhile.
        """
        target = folder / "checkpoints" / self.path.name
        beside = target.with_name(f"writing-{target.name}")
        beside.mkdir(parents=True)
        try:
            for name in (MANIFEST, *self.files):
                _link_or_copy(self.path / name, beside / name)
        except BaseException:  # also a full disk: the room of copies is given back
            shutil.rmtree(beside, ignore_errors=True)
            raise
        _make_current(beside, target)

    def _open(self, file: str) -> Any:
        try:
            if file not in self._opened:
                self._opened[file] = safe_open(self.path / file, framework="pt")
        except (OSError, RuntimeError, SafetensorError) as error:  # RuntimeError: torch maps the file
            raise self._unreadable(file, error) from None
        return self._opened[file]

    def _unreadable(self, file: str, error: Exception) -> RunError:
        return RunError(f"{self.path / file}: not readable as safetensors ({error}): restore it from a copy")


def saved_in(folder: Path, until: int | None = None) -> list[Path]:
    """The checkpoints in the folder of an attempt, the newest first, as far as a step if given."""
    found = sorted((folder / "checkpoints").glob("step-" + "[0-9]" * 8), reverse=True)
    return [path for path in found if until is None or step_of(path) <= until]


def newest(run: Path) -> Iterator[Path]:
    """Yield the checkpoints of the run as it stands, over all attempts that make it up, the newest first."""
    for link in attempts.chain(run):
        yield from saved_in(attempts.folder(run, link.number), link.until)


def first_whole(
    paths: Sequence[Path],
    share: Callable[[list[str]], list[str]] = lambda names: names,
    agree: Callable[[str | None], str | None] = lambda reason: reason,
) -> Checkpoint | None:
    """Return the first of some checkpoints that is whole; None when there is none at all.

    A damaged one is named in the log and passed over. With several ranks, `share` picks the files that
    this rank verifies, and `agree` returns the first reason of any rank.

    Raises RunError when all of them are damaged.
    """
    damaged = []
    for path in paths:
        reason = None
        try:
            checkpoint = Checkpoint.open(path)
            reason = checkpoint.first_damage(share(sorted(checkpoint.files)))
        except (RunError, OSError) as error:
            reason = str(error)
        if (reason := agree(reason)) is None:
            return checkpoint
        damaged.append(reason)
        if path.exists():  # else a training has let go of it
            log.warning("checkpoint passed over: %s", reason)
    if damaged:
        raise RunError(
            f"{paths[0].parent}: every checkpoint is damaged ({damaged[0]}): "
            "restore one, or remove them all to begin again"
        )
    return None


def find(run: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint of a run, as `first_whole`."""
    return first_whole(list(newest(run)))


def find_and_open(run: Path) -> Checkpoint | None:
    """As `find`, of a run that may be training: at any moment it saves others, and lets go of this one.

    It begins anew when the newest has gone, or it could take one that `keep_every` has kept for long.
    """
    while True:
        latest = next(newest(run), None)
        try:
            checkpoint = find(run)
            chosen = checkpoint and checkpoint.open_all()
        except (RunError, OSError):
            if latest is None or latest.exists():
                raise
            continue
        if chosen is None or chosen.path == latest or (latest and latest.exists()):
            return chosen


class CheckpointWriter:
    """One checkpoint in the making, by all ranks together: shares, then `publish` by one of them."""

    def __init__(self, folder: Path, step: int) -> None:
        """folder: the attempt's own, in which nobody else writes."""
        self._folder = folder
        self.path = folder / "checkpoints" / f"step-{step:08d}"
        self.beside = self.path.with_name(f"writing-{self.path.name}")

    def prepare(self) -> None:
        """Make room, by one rank before the others write."""
        self.beside.mkdir(parents=True)

    def abandon(self) -> None:
        """Give back the room of one that will not be whole, as far as this process can see it."""
        shutil.rmtree(self.beside, ignore_errors=True)

    def share(self, rank: int) -> Path:
        """Where a rank writes its tensors."""
        return self.beside / f"rank-{rank:05d}.safetensors"

    def publish(
        self, state: RunState, shares: list[dict[str, Any]], keep: int, keep_every: int | None = None
    ) -> None:
        """Make it current, by one rank after all have written; then let go of old ones.

        The last `keep` stay, and those of every `keep_every`th step.

        `shares` holds {"file", "bytes", "xxh3_128", "tensors": [names]} of each rank.
        """
        body = {
            "format": FORMAT,
            "state": asdict(state),
            "files": {s["file"]: {"bytes": s["bytes"], "xxh3_128": s["xxh3_128"]} for s in shares},
            "tensors": {name: s["file"] for s in shares for name in s["tensors"]},
        }
        envelope = {"xxh3_128": _hash_json(body), "checkpoint": body}
        files.replace(self.beside / MANIFEST, json.dumps(envelope, indent=1).encode())
        _make_current(self.beside, self.path)
        for old in saved_in(self._folder)[keep:]:
            if not keep_every or step_of(old) % keep_every:
                shutil.rmtree(old)


def set_aside(path: Path) -> None:
    """Take a damaged checkpoint out of the row, so that nobody resumes from it; it stays to be looked at."""
    target = path.with_name(f"damaged-{path.name}")
    if target.exists():
        shutil.rmtree(target)
    path.rename(target)


def _hash_json(body: Any) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(body, sort_keys=True).encode())


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError as error:
        log.info("%s is copied: it cannot be linked (%s)", source, error.strerror)
        with source.open("rb") as read, target.open("wb") as written:
            shutil.copyfileobj(read, written, files.READ_BYTES)
            written.flush()
            os.fsync(written.fileno())


def _make_current(beside: Path, path: Path) -> None:
    _sync_directory(beside)
    beside.rename(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
