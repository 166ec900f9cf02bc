"""The engine against the same model in plain torch, and two pipeline stages against one process.

python -m benchmarks.engine.run
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.distributed as dist

from model import GPT, GPTConfig
from model.init import initialise
from pipeline.config import Batch, Data, Optimizer, Parallel, Run, RunConfig, Train
from pipeline.costs.layers import training_flops_per_token
from pipeline.data.loader import MicroBatch
from pipeline.distributed.device import find_device, measured_flops
from pipeline.distributed.engine import build_engine
from pipeline.distributed.launch import launch
from pipeline.distributed.ranks import gather_json, init_distributed, rank_from_environment
from pipeline.distributed.stage_bounds import stage_bounds
from pipeline.errors import RunError
from pipeline.train import worker
from pipeline.train.run_log import log_to

BARE, ENGINE = "bare torch loop", "our engine"
ALONE, BUSY, STAGES = "one process alone", "two at once, each its own batch", "two stages, one batch"
STALL_S = 600


@dataclass(frozen=True)
class Size:
    """A model, and how many sequences a step takes."""

    layers: int
    width: int
    context: int
    micro: int
    """Sequences of a micro-batch."""
    count: int
    """Micro-batches of a step."""

    @property
    def model(self) -> GPTConfig:
        """Heads of 64, GPT-2's layout, no dropout."""
        shape = {"n_layer": self.layers, "d_model": self.width, "n_ctx": self.context}
        return GPTConfig(**shape, n_head=self.width // 64, vocab_size=8192, dropout=0.0)

    @property
    def flops(self) -> float:
        """Operations of a step."""
        return training_flops_per_token(self.model) * self.context * self.micro * self.count

    def __str__(self) -> str:
        return f"L{self.layers} D{self.width} T{self.context}, {self.count} x {self.micro}"

    def config(self, directory: Path, stages: int, cut: list[int] | None = None) -> RunConfig:
        """The run, which reads no files."""
        batch = self.micro * self.count
        return RunConfig(
            run=Run(dir=directory, seed=1),
            data=Data(tokens=directory),
            model=self.model,
            optimizer=Optimizer(lr=1e-4),
            batch=Batch(global_batch_size=batch, micro_batch_size=self.micro, batch_size_multiple=batch),
            parallel=Parallel(pipeline_stages=stages, zero_stage=1, blocks_per_stage=cut),
            train=Train(tokens=batch * self.context, eval_sequences=batch),
        )


ONE_PROCESS = [Size(4, 256, 128, 4, 4), Size(6, 384, 256, 2, 4), Size(12, 384, 256, 1, 16)]
TWO_STAGES = [Size(6, 384, 256, 1, 16), Size(12, 384, 256, 1, 16)]


def batches(size: Size) -> list[MicroBatch]:
    """The micro-batches of a step: random tokens, the same in every process."""
    generator = torch.Generator().manual_seed(0)
    shape = 2, size.micro, size.context
    return [tuple(torch.randint(8192, shape, generator=generator)) for _ in range(size.count)]  # type: ignore[misc]


class Bare:
    """The model in a loop that anyone would write: fused AdamW, two groups, clipping, accumulation."""

    def __init__(self, config: RunConfig) -> None:
        self.model, self.wanted = GPT(config.model), config.optimizer
        initialise(self.model.named_parameters(), config.model, config.run.seed)
        matrices = [value for value in self.model.parameters() if value.dim() >= 2]
        others = [value for value in self.model.parameters() if value.dim() < 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.wanted.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.wanted.lr,
            betas=self.wanted.betas,
            eps=self.wanted.eps,
            fused=True,
        )

    def train_batch(self, step: list[MicroBatch]) -> float:
        """Take a step; return its loss."""
        total = torch.zeros(())
        for inputs, targets in step:
            loss = self.model(inputs, targets)
            (loss / len(step)).backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.wanted.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(total) / len(step)


@dataclass(frozen=True)
class Taken:
    """One step of one rank."""

    cpu_s: float
    wall_s: float
    loss: float
    compute_s: float = 0.0
    """In forward and backward passes, and until the pipeline has drained: our engine's own timer."""
    pipeline_s: float = 0.0


class Rank:
    """One of the processes that are measured: takes the steps of every contender in turn, round by round."""

    def __init__(self, size: Size, cut: list[int] | None, directory: Path) -> None:
        rank = rank_from_environment()
        assert rank is not None
        self.rank, self.device = rank.global_rank, find_device(rank.local_rank)
        init_distributed(rank, self.device.backend, STALL_S)
        config = size.config(directory, rank.world_size, cut)
        self.engine, bare, step = build_engine(config, self.device), Bare(config), batches(size)

        def ours() -> float:
            loss = self.engine.train_batch(iter(step), config.batch.global_batch_size, config.optimizer.lr)
            self.engine.grad_norm()  # as the training loop asks for it
            return loss

        def plain() -> float:
            return bare.train_batch(step)

        one = {ENGINE: ours, BARE: plain}
        two = {STAGES: ours, BUSY: plain, ALONE: plain if self.rank == 0 else None}
        self.contenders: dict[str, Callable[[], float] | None] = one if rank.world_size == 1 else two

    def measure(self, rounds: int) -> dict[str, Any]:
        """Take rounds of all contenders, each in another order; return what all ranks took."""
        losses = [step() for step in self.contenders.values() if step]  # and they are warm
        if max(losses[:2]) - min(losses[:2]) > 1e-5:
            raise RunError(f"not the same training: losses {losses} of the first step")
        taken: dict[str, list[Taken]] = {name: [] for name in self.contenders}
        peak = 0.0
        for number in range(rounds):
            for name in random.Random(number).sample(sorted(taken), len(taken)):
                dist.barrier()
                if not (step := self.contenders[name]):
                    continue
                if name in (BARE, ALONE):
                    peak = max(peak, measured_flops(self.device))
                taken[name].append(self._timed(step, name in (ENGINE, STAGES)))
        mine = {name: [asdict(each) for each in steps] for name, steps in taken.items()}
        return {"peak": peak, "ranks": gather_json(mine, self.device.type)}

    def _timed(self, step: Callable[[], float], watched: bool) -> Taken:
        cpu, wall = time.process_time(), time.perf_counter()
        loss = step()
        taken = time.process_time() - cpu, time.perf_counter() - wall
        computed, drained = self.engine.timer.read_ns() if watched else (0, 0)
        return Taken(*taken, loss, computed / 1e9, drained / 1e9)


def rank(argv: list[str], report: TextIO) -> int:
    """Be one of the processes; the first leaves what all took in a file."""
    directory, size = Path(argv[0]), Size(*json.loads(argv[1]))
    log_to(directory / "log.txt", int(os.environ["RANK"]))

    def work() -> None:
        me = Rank(size, json.loads(argv[3]), directory)
        found = me.measure(int(argv[2]))
        if me.rank == 0:
            (directory / "taken.json").write_text(json.dumps(found))
        dist.destroy_process_group()

    return worker.attempt(work, report)


class Measured:
    """Medians over the rounds of what the ranks of one launch took."""

    def __init__(self, size: Size, processes: int, rounds: int, cut: list[int] | None = None) -> None:
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
        with tempfile.TemporaryDirectory() as directory:
            arguments = [directory, json.dumps(list(vars(size).values())), str(rounds), json.dumps(cut)]
            launch(arguments, processes, "benchmarks.engine.run")
            found = json.loads((Path(directory) / "taken.json").read_text())
        self.peak: float = found["peak"]
        self._ranks: list[dict[str, list[dict[str, float]]]] = found["ranks"]

    def of(self, name: str, field: str) -> list[float]:
        """One field of a contender's steps: the median of each rank that took part."""
        steps = [each[name] for each in self._ranks if each[name]]
        return [statistics.median(step[field] for step in rank) for rank in steps]


def chosen(among: list[Size], start: str) -> list[Size]:
    """Those whose name begins so."""
    return [size for size in among if str(size).startswith(start)]


def print_one_process(sizes: str, rounds: int) -> None:
    """The engine against the bare loop."""
    print("| | | CPU s | wall s | its speed, CPU | wall | goal | share of the products' peak |")
    print("|---|---|---|---|---|---|---|---|")
    for size in chosen(ONE_PROCESS, sizes):
        measured = Measured(size, 1, rounds)
        bare = {field: measured.of(BARE, field)[0] for field in ("cpu_s", "wall_s")}
        for name in (BARE, ENGINE):
            (cpu,), (wall,) = measured.of(name, "cpu_s"), measured.of(name, "wall_s")
            goal = ">= 0.95" if name == ENGINE else ""
            print(
                f"| {size} | {name} | {cpu:.3f} | {wall:.3f} | {bare['cpu_s'] / cpu:.3f} | "
                f"{bare['wall_s'] / wall:.3f} | {goal} | {size.flops / cpu / measured.peak:.0%} |"
            )


def print_two_stages(sizes: str, rounds: int) -> None:
    """Two stages against what two busy cores and the schedule's bubble allow."""
    compared = "| | alone, s | two at once | allowed | two stages | reached | goal | speed-up | CPU |"
    within = (
        "| | stage 0 computes, s | stage 1 | slower / mean | bubble | of the slower | (p-1)/(m+p-1) "
        "| not pipeline, s | share of the products' peak |"
    )
    print(compared, "|---|---|---|---|---|---|---|---|---|", sep="\n")
    rows = []
    for size in chosen(TWO_STAGES, sizes):
        measured = Measured(size, 2, rounds)
        (alone,), busy = measured.of(ALONE, "wall_s"), statistics.fmean(measured.of(BUSY, "wall_s"))
        stages = max(measured.of(STAGES, "wall_s"))
        bubble = 1 / (size.count + 1)
        allowed = busy / 2 / (1 - bubble)
        cpu = sum(measured.of(STAGES, "cpu_s")) / measured.of(ALONE, "cpu_s")[0]
        print(
            f"| {size} | {alone:.2f} | {busy:.2f} | {allowed:.2f} | {stages:.2f} | {allowed / stages:.3f} | "
            f">= 0.90 | {alone / stages:.2f} | {cpu:.2f} |"
        )
        computed, drained = measured.of(STAGES, "compute_s"), max(measured.of(STAGES, "pipeline_s"))
        mean, slower = statistics.fmean(computed), max(computed)
        rows.append(
            f"| {size} | {computed[0]:.2f} | {computed[1]:.2f} | {slower / mean:.3f} "
            f"| {1 - mean / drained:.3f} | {1 - slower / drained:.3f} | {bubble:.3f} "
            f"| {stages - drained:.2f} | {size.flops / stages / 2 / measured.peak:.0%} |"
        )
    print("", within, "|---|---|---|---|---|---|---|---|---|", *rows, sep="\n")


def print_cuts(sizes: str, rounds: int) -> None:
    """The cut that the engine takes, and those one block to either side of it."""
    print("| | blocks | | two stages, s | stage 0 computes, s | stage 1 |")
    print("|---|---|---|---|---|---|")
    for size in chosen(TWO_STAGES, sizes):
        bounds = stage_bounds(size.config(Path(), 2), "cpu")
        ours = bounds[1] - 2  # beside the two embeddings
        for first in (ours, ours - 1, ours + 1):
            measured = Measured(size, 2, rounds, [first, size.layers - first])
            computed = measured.of(STAGES, "compute_s")
            print(
                f"| {size} | {first} + {size.layers - first} | {'ours' if first == ours else ''} | "
                f"{max(measured.of(STAGES, 'wall_s')):.2f} | {computed[0]:.2f} | {computed[1]:.2f} |"
            )


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", choices=TABLES)
    options.add_argument("--sizes", default="L", help="those whose name begins so, such as L12")
    asked = options.parse_args()
    for name, table in TABLES.items():
        if asked.only in (None, name):
            table(asked.sizes, asked.rounds)
            print(flush=True)


TABLES = {"one-process": print_one_process, "two-stages": print_two_stages, "cuts": print_cuts}

if __name__ == "__main__":
    if "RANK" in os.environ:
        worker.run(rank)
    else:
        main()
