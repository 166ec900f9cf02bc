"""Run the parts of a step on this machine's cores.

A worker takes parts and nothing else, so how many there are changes the time, never a result. Results
come back in the order of the parts.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from itertools import accumulate, groupby
from multiprocessing.queues import Queue
from threading import Thread
from typing import Any, TypeVar

from dataprep.errors import DataError
from dataprep.store.os_errors import explain_os_error

R = TypeVar("R")

Tick = Callable[[int], None]
"""tick(number) tells that so many units more are done."""
Progress = Callable[[str, int | None, str], AbstractContextManager[Tick]]
"""progress(title, total, unit) draws a bar and gives the function that advances it."""

BATCH_BYTES = 1 << 30
"""Size of a batch of `run_by_size`: to start a worker takes about as long as to read so many bytes."""

_ticks: Queue[int | None]


def run_all(
    function: Callable[..., R],
    parts: Sequence[tuple[Any, ...]],
    workers: int,
    tick: Tick,
) -> list[R]:
    """Call `function(*part, tick)` for every part, in up to `workers` processes; `tick` is called here.

    Raises DataError when a worker is killed.
    """
    if workers <= 1 or len(parts) <= 1:
        return [_call(function, part, tick) for part in parts]
    # spawned, not forked: Arrow and numpy keep threads that a fork would leave half copied
    context = multiprocessing.get_context("spawn")
    ticks: Queue[int | None] = context.Queue()
    relay = Thread(target=_relay, args=(ticks, tick), daemon=True)
    relay.start()
    try:
        with ProcessPoolExecutor(min(workers, len(parts)), context, _start, (ticks,)) as pool:
            return list(pool.map(_call_here, [function] * len(parts), parts))
    except BrokenProcessPool:
        raise DataError(
            "a worker process was killed, perhaps for want of memory; run the same command again, with fewer "
            "--workers if so: what is finished stands"
        ) from None
    finally:
        ticks.put(None)
        relay.join()


def run_by_size(
    function: Callable[..., R],
    parts: Sequence[tuple[Any, ...]],
    sizes: Sequence[int],
    workers: int,
    tick: Tick,
) -> list[R]:
    """Do the same as `run_all` for parts of very different sizes: small ones go together, large ones first.

    sizes: the bytes that each part hashes, or that would take as long.
    """
    cut = sorted(batches(sizes), key=lambda batch: -sum(sizes[number] for number in batch))
    calls = [(function, [parts[number] for number in batch]) for batch in cut]
    found = dict[int, R]()
    for batch, results in zip(cut, run_all(_call_batch, calls, workers, tick), strict=True):
        found.update(zip(batch, results, strict=True))
    return [found[number] for number in range(len(parts))]


def batches(sizes: Sequence[int]) -> list[Sequence[int]]:
    """Cut parts of these sizes into batches of some BATCH_BYTES; each lists the numbers of its parts.

    >>> batches([BATCH_BYTES, 1, 1])
    [[0], [1, 2]]
    """
    begins = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
    cut = groupby(range(len(sizes)), lambda number: begins[number] // BATCH_BYTES)
    return [[*batch] for _, batch in cut]


def _call_batch(function: Callable[..., R], parts: Sequence[tuple[Any, ...]], tick: Tick) -> list[R]:
    return [function(*part, tick) for part in parts]


def _start(ticks: Queue[int | None]) -> None:
    global _ticks
    _ticks = ticks
    Thread(target=leave_with_parent, daemon=True).start()


def leave_with_parent() -> None:
    """End when the command is killed: a pool's worker would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _call_here(function: Callable[..., R], part: tuple[Any, ...]) -> R:
    return _call(function, part, _ticks.put)


def _call(function: Callable[..., R], part: tuple[Any, ...], tick: Tick) -> R:
    """Call it; what the user can mend becomes a DataError here, where the file is known."""
    try:
        return function(*part, tick)
    except OSError as error:
        if explained := explain_os_error(error):
            raise explained from None
        raise


def _relay(ticks: Queue[int | None], tick: Tick) -> None:
    for count in iter(ticks.get, None):
        tick(count)
