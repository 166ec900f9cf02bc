"""A rank of a training run that compiles blocks as far as torch goes without a C++ compiler.

It appends the number of compiled graphs to the file NOTES when the run has ended.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from torch._dynamo.testing import CompileCounterWithBackend

from pipeline.distributed import engine
from pipeline.train import worker

if __name__ == "__main__":
    counted = CompileCounterWithBackend("aot_eager")
    engine.compile_blocks = partial(engine.compile_blocks, backend=counted)  # type: ignore[assignment]
    worker.run(worker.main)
    with Path(os.environ["NOTES"]).open("a") as file:
        file.write(f"{counted.frame_count}\n")
