"""Prefetching: a thread prepares what the next step needs while this one is computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """An iterator whose items a thread makes, at most `depth` before they are needed.

    An exception in the thread is raised in place of its item.
    """

    def __init__(self, items: Iterator[Item], depth: int) -> None:
        self.waited_ns = 0
        """Total time that the consumer waited."""
        self._items = items
        self._queue: Queue[Item | _End] = Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        began = time.perf_counter_ns()
        item = self._queue.get()
        self.waited_ns += time.perf_counter_ns() - began
        if isinstance(item, _End):
            self._queue.put(item)  # whoever asks again gets the same
            raise item.error
        return item

    def close(self) -> None:
        """Stop reading, and drop what was read for nothing."""
        self._closed.set()
        while self._thread.is_alive():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(0.01)

    def _fill(self) -> None:
        try:
            for item in self._items:
                self._queue.put(item)
                if self._closed.is_set():
                    return
            self._queue.put(_End(StopIteration()))
        except Exception as error:
            self._queue.put(_End(error))


class _End:
    """After the last item: why there are no more."""

    def __init__(self, error: Exception) -> None:
        self.error = error
