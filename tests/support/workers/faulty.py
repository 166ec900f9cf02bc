"""A rank of a training run to which something happens: started as pipeline.train.worker is.

FAULT in the environment is JSON: {"nan_steps": [3, 4]} makes the gradient of this rank not finite in those
steps (counted from 1); {"noise": [8, 16]} puts random tokens in place of those samples of the data order;
{"file_bytes": 100} lets no file grow larger, as a full disk does; {"at": "pipeline.train.loop.save", "call":
2, "deed": "stall"} stalls, is stopped (SIGSTOP), dies or raises at that call of a function, or ("race") first
writes two numbers to one place, of which either may stay; {"look_s": 0.2} is how often it looks for a later
attempt. With {"rank": 1} it happens to that rank alone.
"""

from __future__ import annotations

import json
import os
import pkgutil
import resource
import signal
import time
from typing import Any

import numpy as np
import torch

from pipeline.data import sources
from pipeline.distributed import engine
from pipeline.train import run_directory, worker

FAULT = json.loads(os.environ["FAULT"])


def break_gradients(steps: list[int]) -> None:
    """Multiply the gradient of one weight by NaN in some steps."""
    taken = 0
    prepare = engine._prepare

    def hooked(*arguments: Any) -> Any:
        parameters = prepare(*arguments)
        last = list(parameters.values())[-1]
        last.register_hook(lambda gradient: gradient * float("nan") if taken in steps else gradient)
        return parameters

    def counted(train_batch: Any) -> Any:
        def one(*arguments: Any) -> Any:
            nonlocal taken
            taken += arguments[-1] > 0  # not the dry run, whose learning rate is 0
            return train_batch(*arguments)

        return one

    engine._prepare = hooked
    for kind in (engine.PipelineEngine, engine.PlainEngine):
        kind.train_batch = counted(kind.train_batch)  # type: ignore[method-assign]


def put_noise(first: int, last: int) -> None:
    """Scramble the samples [first, last) of the data order."""
    read = sources.Samples.rows

    def scrambled(self: Any, samples: Any) -> Any:
        rows = read(self, samples)
        for row, sample in zip(rows, samples.tolist(), strict=True):
            if first <= sample < last:
                row[:] = np.random.default_rng(sample).integers(0, 61, len(row))
        return rows

    sources.Samples.rows = scrambled  # type: ignore[method-assign]


def fail(deed: str) -> None:
    """What happens to the rank."""
    if deed == "stall":
        time.sleep(1e6)
    elif deed == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return  # continued
    elif deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "race":
        torch.zeros(1).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
        return
    raise ValueError("a mistake of this rank")


def fail_at(function: str, call: int, deed: str) -> None:
    """Let it happen just before the call of that number of a function."""
    owner, _, name = function.rpartition(".")
    holder = pkgutil.resolve_name(owner)
    original = getattr(holder, name)
    calls = 0

    def faulty(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            fail(deed)
        return original(*arguments, **named)

    setattr(holder, name, faulty)


if __name__ == "__main__":
    if FAULT.get("rank", int(os.environ["RANK"])) != int(os.environ["RANK"]):
        FAULT = {}
    if "at" in FAULT:
        fail_at(FAULT["at"], FAULT["call"], FAULT["deed"])
    if "file_bytes" in FAULT:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FAULT["file_bytes"], resource.RLIM_INFINITY))
    if "look_s" in FAULT:
        run_directory.LOOK_S = FAULT["look_s"]
    if "nan_steps" in FAULT:
        break_gradients(FAULT["nan_steps"])
    if "noise" in FAULT:
        put_noise(*FAULT["noise"])
    worker.run(worker.main)
