"""How long a rank computes in a step, and how long the step's pipeline runs: host clocks or CUDA events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch

COMPUTING = "ForwardPass", "BackwardPass"
FLUSHED = "ReduceTiedGrads"
"""Instructions of DeepSpeed's schedules: those that compute, and the first after the pipeline has drained."""


class StepTimer:
    """Adds up stretches of one step.

    A GPU runs behind its host, so there the marks are events in its stream, read when the step's loss has
    been: no synchronisation of their own.
    """

    def __init__(self, device_type: str) -> None:
        self._on_gpu = device_type == "cuda"
        self.start()

    def start(self) -> None:
        """A new step begins."""
        self._began = self._mark()
        self._ended: Any = None
        self._stretches: list[tuple[Any, Any]] = []

    @contextmanager
    def computing(self) -> Iterator[None]:
        """What runs inside is computing."""
        began = self._mark()
        yield
        self._stretches.append((began, self._mark()))

    def drained(self) -> None:
        """The last micro-batch has left this stage."""
        self._ended = self._mark()

    def read_ns(self) -> tuple[int, int]:
        """(computing, from the start to `drained`) of the step that has ended; the latter 0 if none was."""
        computed = sum(self._between(*stretch) for stretch in self._stretches)
        return computed, self._between(self._began, self._ended) if self._ended is not None else 0

    def watch(self, engine: Any) -> None:
        """Time the instructions of a DeepSpeed pipeline engine, whatever its schedule."""
        engine._INSTRUCTION_MAP = {
            kind: self._watched(kind.__name__, run) for kind, run in engine._INSTRUCTION_MAP.items()
        }

    def _watched(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        if name not in (*COMPUTING, FLUSHED):
            return run

        @wraps(run)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if name == FLUSHED:
                self.drained()
                return run(*args, **kwargs)
            with self.computing():
                return run(*args, **kwargs)

        return timed

    def _mark(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _between(self, began: Any, ended: Any) -> int:
        return int(began.elapsed_time(ended) * 1e6) if self._on_gpu else ended - began
