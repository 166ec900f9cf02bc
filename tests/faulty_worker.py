"""A rank of a training run to which something happens: started as pipeline.worker is.

FAULT in the environment is JSON: {"nan_steps": [3, 4]} makes the gradient of this rank not finite in those
steps (counted from 1); {"noise": [8, 16]} puts random tokens in place of those samples of the data order.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from pipeline import engine, sources, worker

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
            taken += arguments[-1] > 0  # not the rehearsal, whose learning rate is 0
            return train_batch(*arguments)

        return one

    engine._prepare = hooked
    for kind in (engine.PipelineEngine, engine.PlainEngine):
        kind.train_batch = counted(kind.train_batch)  # type: ignore[method-assign]


def put_noise(first: int, last: int) -> None:
    """Scramble the samples [first, last) of the data order."""
    read = sources.Samples.__call__

    def scrambled(self: Any, sample: int) -> Any:
        tokens = read(self, sample)
        if first <= sample < last:
            return np.random.default_rng(sample).integers(0, 61, len(tokens)).astype(tokens.dtype)
        return tokens

    sources.Samples.__call__ = scrambled  # type: ignore[method-assign]


if __name__ == "__main__":
    if "nan_steps" in FAULT:
        break_gradients(FAULT["nan_steps"])
    if "noise" in FAULT:
        put_noise(*FAULT["noise"])
    worker.run(worker.main)
