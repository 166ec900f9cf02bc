"""What is compared: the layouts, one tiny model, six steps with clipping and a growing batch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model import GPTConfig
from pipeline.config import Batch, Data, Optimizer, Parallel, Run, RunConfig, Train
from pipeline.errors import UsageError

# Four blocks, so that four stages, or two folded ones, hold one each; banded and dense ones in turn.
MODEL = GPTConfig(n_layer=4, n_head=2, d_model=32, n_ctx=16, vocab_size=61, attention=("dense", "banded:5"))
# The growing batch is no multiple of what went before it: DeepSpeed's own boundary would step in mid-batch.
BATCHES = (8, 16, 16, 24, 24, 24)
RATES = (0.5, 1, 1, 1, 0.5, 0.5)
"""Learning rates of the steps, as shares of the peak."""
PEAKS = {"fp32": 2e-3, "bf16": 1e-5}
"""In bf16 small: a weight that rounds the other way is no mistake, and a long way would bring many."""
SAVED_AFTER = 3
"""Steps until the checkpoint that every layout writes, reads and goes on from."""
CLIP = 0.5
SEED = 3
EOT = 0


@dataclass(frozen=True)
class Tolerance:
    """Largest difference from the reference: absolute in the loss, relative in the gradient's norm."""

    loss: float
    norm: float


TOLERANCES = {"fp32": Tolerance(1e-5, 1e-4), "bf16": Tolerance(5e-4, 1e-3)}
DATA_PARALLEL = Tolerance(1e-6, 1e-6)
"""Replicas compute what one process does, and average fp32 gradients: only the order of additions differs."""

Steps = list[tuple[float, float]]
"""Of each step the loss, and the gradient's norm before clipping."""


@dataclass(frozen=True)
class CaseNumbers:
    """Numbers of one case."""

    steps: Steps
    held_out: float
    resumed: Steps
    """The steps after SAVED_AFTER once more, from the reference's checkpoint."""


@dataclass(frozen=True)
class Case:
    """One layout in one number format."""

    precision: str
    processes: int
    parallel: Parallel = field(default_factory=Parallel)

    @property
    def name(self) -> str:
        """Such as "fp32 PP2xDP2 ZeRO-1"."""
        parallel = self.parallel
        spread = {"PP": parallel.pipeline_stages, "DP": self.processes // parallel.pipeline_stages}
        layout = "x".join(f"{axis}{ranks}" for axis, ranks in spread.items() if ranks > 1) or "one process"
        more: list[str] = [parallel.pipeline_schedule] if parallel.pipeline_schedule != "1f1b" else []
        more += [f"{parallel.reduce_dtype} gradients"] if parallel.reduce_dtype != "fp32" else []
        more += ["activation checkpointing"] if parallel.activation_checkpointing else []
        if parallel.blocks_per_stage:
            more.append("blocks " + "+".join(map(str, parallel.blocks_per_stage)))
        return " ".join([self.precision, layout, f"ZeRO-{parallel.zero_stage}", *more])

    @property
    def data_parallel(self) -> bool:
        """Whether it is data parallelism alone, with gradients averaged in fp32."""
        parallel = self.parallel
        return self.processes > 1 and parallel.pipeline_stages == 1 and parallel.reduce_dtype == "fp32"

    @property
    def beside_plain_torch(self) -> bool:
        """Whether it is compared with plain torch; else with one process in its number format."""
        return self.precision == "fp32" and not self.data_parallel

    @property
    def tolerance(self) -> Tolerance:
        """How far it may be from its reference."""
        return DATA_PARALLEL if self.data_parallel else TOLERANCES[self.precision]

    def config(self, directory: Path) -> RunConfig:
        """The run of this case, which reads no files."""
        return RunConfig(
            run=Run(dir=directory, seed=SEED),
            data=Data(tokens=directory),
            model=MODEL,
            # With Adam's usual eps, a clipped gradient makes the same step as one that is not, and bf16's
            # rounding of a gradient near zero a whole one.
            optimizer=Optimizer(lr=PEAKS[self.precision], eps=1e-3, max_grad_norm=CLIP),
            batch=Batch(global_batch_size=max(BATCHES), micro_batch_size=1, batch_size_multiple=min(BATCHES)),
            parallel=self.parallel,
            train=Train(
                tokens=sum(BATCHES) * MODEL.n_ctx,
                eval_sequences=min(BATCHES),
                keep_last=1,
                precision=self.precision,  # type: ignore[arg-type]
            ),
        )


def _case(precision: str, processes: int, **parallel: Any) -> Case:
    return Case(precision, processes, Parallel(**parallel))


REFERENCES = {
    "fp32": _case("fp32", 1, zero_stage=0),
    "bf16": _case("bf16", 1, zero_stage=1),
}
"""Their checkpoints are those that every layout reads."""

# By processes, so that they start three times.
CASES = [
    *REFERENCES.values(),
    _case("fp32", 1, zero_stage=1, activation_checkpointing=True),
    *(
        _case(precision, 2, **parallel)
        for precision in ("fp32", "bf16")
        for parallel in (
            {"pipeline_stages": 2},
            {"pipeline_stages": 2, "activation_checkpointing": True},
            {"pipeline_stages": 2, "pipeline_schedule": "dualpipev"},
            {"zero_stage": 1},
            {"zero_stage": 2},
        )
    ),
    _case("bf16", 2, zero_stage=2, reduce_dtype="bf16"),
    _case("fp32", 2, zero_stage=0),
    _case("fp32", 2, pipeline_stages=2, blocks_per_stage=[1, 3]),
    _case("fp32", 2, pipeline_stages=2, pipeline_schedule="dualpipev", activation_checkpointing=True),
    *(_case(precision, 2, zero_stage=3) for precision in ("fp32", "bf16")),
    _case("fp32", 2, zero_stage=3, activation_checkpointing=True),
    *(
        _case(precision, 4, **parallel)
        for precision in ("fp32", "bf16")
        for parallel in (
            {"pipeline_stages": 4},
            {"pipeline_stages": 2},
            {"pipeline_stages": 2, "pipeline_schedule": "dualpipev"},
        )
    ),
]


def cases_for_this_node(gpu: bool) -> list[Case]:
    """The cases that have enough processes here, on the node's GPUs or on its CPU.

    Called before torch is imported: without `gpu`, it hides the GPUs, from the processes of the cases, too.
    Raises UsageError when there is no GPU.
    """
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return CASES
    import torch

    devices = torch.cuda.device_count()
    if not devices:
        raise UsageError("--gpu: torch finds no GPU on this machine; without it, the CPU is checked")
    return [case for case in CASES if case.processes <= devices]


def samples(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(places, n_ctx + 1) tokens: those samples of the data order."""
    return np.stack([_sample(place) for place in places.tolist()])


def _sample(index: int) -> npt.NDArray[np.int64]:
    """(n_ctx + 1,) tokens, each of which mostly follows from the last.

    Part of some was forgotten, and all of others, so that in some micro-batches no position counts.
    """
    rng = np.random.default_rng(index)
    steps = rng.choice([1, 7, 20], size=MODEL.n_ctx + 1, p=[0.7, 0.2, 0.1])
    tokens = np.cumsum(steps) % MODEL.vocab_size
    if index % 8 == 2:  # as many of every batch, so that losses can be compared
        tokens[index % 7 :][:8] = EOT
    if index % 8 == 5:
        tokens[:] = EOT
    return tokens


def first_sample(step: int) -> int:
    """How many samples the steps before `step` (counted from 0) took."""
    return sum(BATCHES[:step])
