"""A rank that builds and steps engines, and notes what DeepSpeed did in them.

    python -m support.workers.workarounds DIRECTORY [left out]

as a rank that the environment names. With "left out", DeepSpeed does as it does by itself: no workaround that
is tested here is in place.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.distributed import deepspeed_workarounds as workarounds

if sys.argv[2:] == ["left out"]:

    def partition_as_deepspeed(module: Any, _: list[int]) -> None:
        from deepspeed.pipe import PipelineModule

        PipelineModule._partition_layers(module, "parameters")

    # When pipeline.engine is imported, it calls some of these.
    workarounds.import_environment = dict
    workarounds.ignore_deprecations = lambda: None
    workarounds.skip_shared_memory_build = lambda: None
    workarounds.skip_muon_compilation = lambda: None
    workarounds.forget_pipeline_groups = lambda: None
    workarounds.quiet = contextlib.nullcontext
    workarounds.untracked_broadcasts = contextlib.nullcontext
    workarounds.set_stage_bounds = partition_as_deepspeed
    workarounds.skip_reduction_of_one_rank = lambda engine: None

from pipeline.config import Parallel
from pipeline.distributed import engine as engines
from pipeline.distributed.device import find_device
from pipeline.distributed.ranks import init_distributed, rank_from_environment
from pipeline.preflight.cases import MODEL, Case
from pipeline.preflight.plain import whole_batch


def main(directory: Path) -> None:
    rank = rank_from_environment()
    assert rank is not None
    seen: dict[str, Any] = {"built": note_builds()}
    init_distributed(rank, find_device(0).backend, 600)

    engine = build(Case("fp32", 2, Parallel(zero_stage=3)), directory)
    step(engine)

    engine = build(Case("fp32", 2, Parallel(pipeline_stages=2, blocks_per_stage=[1, 3])), directory)
    seen["parts"] = list(map(int, engine._engine.module.parts))
    reductions = note_reductions(engine)
    step(engine)
    seen["reductions in fp32"] = len(reductions)

    engine = build(Case("bf16", 2, Parallel(pipeline_stages=2)), directory)
    reductions = note_reductions(engine)
    step(engine)
    seen["reductions in bf16"] = len(reductions)
    last = list(engine.parameters.values())[-1]
    last.register_hook(lambda gradient: gradient * float("nan"))
    step(engine)
    seen["norm"] = engine.grad_norm()

    try:
        seen["ranks"] = build(Case("fp32", 2, Parallel(zero_stage=1)), directory).dp_size
    except AttributeError as error:
        seen["ranks"] = str(error)
    seen["compiler"] = "torch._inductor.compile_fx" in sys.modules
    (directory / f"seen-{rank.global_rank}.json").write_text(json.dumps(seen))


def build(case: Case, directory: Path) -> Any:
    workarounds.forget_pipeline_groups()
    return engines.build_engine(case.config(directory), find_device(0, case.precision))


def step(engine: Any) -> None:
    inputs, targets = whole_batch(0, 8)

    def batches() -> Iterator[Any]:
        for row in range(0, len(inputs), engine.dp_size):
            yield inputs[row : row + 1], targets[row : row + 1]

    assert inputs.shape[1] == MODEL.n_ctx
    engine.train_batch(batches(), len(inputs), 1e-3)


def note_builds() -> list[str]:
    """Which of DeepSpeed's extensions would be compiled; none is."""
    from deepspeed.ops.op_builder.builder import OpBuilder

    built: list[str] = []

    def load(self: Any, verbose: bool = True) -> None:
        built.append(self.name)

    OpBuilder.load = load
    return built


def note_reductions(engine: Any) -> list[int]:
    """Sizes of the lists of gradients that are averaged over ranks, by the optimizer or else the engine."""
    reduced: list[int] = []
    owner = engine.optimizer if hasattr(engine.optimizer, "allreduce_no_retain") else engine._engine
    reduce = owner.allreduce_no_retain

    def noted(gradients: Any, *arguments: Any, **named: Any) -> Any:
        reduced.append(len(gradients))
        return reduce(gradients, *arguments, **named)

    owner.allreduce_no_retain = noted
    return reduced


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)
