"""`outbound pack --join`: one of many processes, on any machines, that make one pack together.

The steps and the functions are those of `pack`; only who makes which part differs. Each process ends when all
is packed, so several may publish the generation: the first one counts, and their bytes are equal.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack import manifest
from dataprep.pack.manifest import Generation
from dataprep.pack.pack import described, make, next_generation, tidy
from dataprep.pack.packing import Layout, Packing
from dataprep.store.claiming import Claiming
from dataprep.store.pool import Progress
from dataprep.store.presence import Presence, Stopped
from dataprep.store.requests import Excluded, Pending, newest
from dataprep.store.step import Executor
from dataprep.store.workers import OpenPart, Worker, forget_worker

STAGE = "pack"
"""The stage of a worker that packs."""


@dataclass
class Packer(Presence):
    """A worker of a token directory. It makes way for removals there and in the corpus that it reads.

    reader: how it is listed in the corpus; None where it may not write there.
    """

    reader: Presence | None = None

    @staticmethod
    def of(corpus: Path, tokens: Path, worker: Worker, end: float, grace: float) -> Packer:
        """A worker that packs a corpus. end, grace: as of any worker."""
        reader = Presence(corpus, replace(worker)) if os.access(corpus, os.W_OK) else None
        return Packer(tokens, worker, end=end, grace=grace, reader=reader)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Be a worker, as `Presence.kept`; in the corpus nothing of it stays."""
        try:
            with super().kept():
                if self.is_to_stand_aside():
                    self.stand_aside()
                yield
        finally:
            if self.reader:
                with suppress(OSError):
                    forget_worker(self.reader.root, self.worker)

    def is_to_stand_aside(self) -> bool:
        """Whether a command that removes has begun, or was here while this process slept."""
        return any(newest(each.root) > each.worker.heeds for each in self._both)

    def refuse_removals(self) -> None:
        """Raise Excluded when a command that removes has begun in either directory."""
        if self.is_to_stand_aside():
            raise Excluded

    def stand_aside(self, look_s: float = 1.0) -> None:
        """Wait until no command removes in either directory; raises Stopped."""
        pending = {each.root: Pending(each.root, self.silent_s) for each in self._both}
        while True:
            if self.is_to_stand_aside():
                for each in self._both:
                    each.worker.heeds = max(each.worker.heeds, newest(each.root))
                self.show([])
            if not any(pending[each.root].stands(each.worker.heeds) for each in self._both):
                return
            if self.is_leaving:
                raise Stopped
            time.sleep(look_s)
            self.count(0)
            self._show_in_time([])

    def show(self, making: list[OpenPart]) -> None:
        """Write the worker's files, which are its heartbeat."""
        super().show(making)
        if self.reader:
            self.reader.show([])

    @property
    def _both(self) -> list[Presence]:
        return [self, self.reader] if self.reader else [self]


def join(
    root: Path,
    source: Path,
    layout: Layout,
    packer: Packer,
    note: Callable[[Generation], None],
    progress: Progress,
) -> Generation:
    """Pack what is new in the current build of a corpus, with others; returns the newest generation.

    root: the corpus. note: writes what else belongs beside a generation. After each command that removes, it
    begins anew.

    Raises as `pack`, DataError when others pack with another tokenizer or layout, GivenUp when parts failed
    too often, BadMachine when this machine cannot go on, and Stopped when it was asked to end before.
    """
    tokens = packer.root
    with packer.kept(), closing(Claiming(packer)) as claiming:
        while True:
            try:
                generation = _all_packed(root, source, tokens, layout, claiming, progress)
                note(generation)
                manifest.remember(tokens)  # after all is there, so that whoever is last names all
                break
            except (Excluded, DataError, OSError) as error:
                # Whoever slept through a removal may first find things missing.
                if not (isinstance(error, Excluded) or packer.is_to_stand_aside()):
                    raise
                packer.stand_aside()
    tidy(tokens)
    return generation


def _all_packed(
    root: Path, source: Path, tokens: Path, layout: Layout, execute: Executor, progress: Progress
) -> Generation:
    """Take part in packs until nothing is new."""
    while True:
        corpus = Corpus.open(root)
        generation, packing = next_generation(corpus, corpus.current_build(), source, tokens, layout)
        if packing is None:
            return generation
        packing = _shared(packing, generation)
        try:
            make(generation, packing, source, execute, progress)
        except (DataError, OSError):
            # Another process has published it, and removed what this one was reading.
            if not manifest.generation_path(tokens, generation.number).exists():
                raise


def _shared(packing: Packing, generation: Generation) -> Packing:
    """The pack that others have begun, or this one. Raises DataError when theirs is of another kind.

    Theirs may lack increments that are newer: they come next.
    """
    for other in Packing.under_way(packing.tokens):
        if not generation.increments.keys().isdisjoint(other.increments):
            continue  # it is done, and about to be removed
        for key in ("build", "identity", "held_out", "block_tokens", "shard_blocks"):
            theirs, ours = getattr(other, key), getattr(packing, key)
            if theirs != ours:
                raise DataError(
                    f"{other.places['pack']}: holds a pack that was begun with {described(key, theirs)}, not "
                    f"{described(key, ours)}; let all processes have the same, or choose another directory; "
                    "when no process is left that packs so, remove this one"
                )
        if other.increments.items() <= packing.increments.items():
            return dataclasses.replace(other, corpus=packing.corpus)
    return packing
