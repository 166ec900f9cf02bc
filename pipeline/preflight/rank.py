"""One process of the parity suite: takes the steps of each case, and its first rank notes the numbers.

Started as `python -m pipeline.preflight.rank DIRECTORY CASE...` by `pipeline.distributed.launch`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TextIO

import torch.distributed as dist

from pipeline.checkpoint.format import Checkpoint
from pipeline.checkpoint.run_state import RunState
from pipeline.config import RunConfig, require_layout
from pipeline.data.loader import TrainLoader
from pipeline.distributed.deepspeed_workarounds import forget_pipeline_groups
from pipeline.distributed.device import find_device
from pipeline.distributed.engine import Engine, build_engine
from pipeline.distributed.ranks import Rank, init_distributed, rank_from_environment
from pipeline.distributed.watchdog import Watchdog
from pipeline.distributed.zero_state import updates
from pipeline.preflight.cases import (
    BATCHES,
    CASES,
    EOT,
    RATES,
    REFERENCES,
    SAVED_AFTER,
    Case,
    CaseNumbers,
    Steps,
    first_sample,
    samples,
)
from pipeline.train import worker
from pipeline.train.resume import load, save, seed_generators
from pipeline.train.run_log import log_to

log = logging.getLogger("outbound")

STALL_S = 300.0
"""Longer than any case should take."""


def main(argv: list[str], report: TextIO) -> int:
    """Take the cases named; exit code 0 or 1."""
    directory, names = Path(argv[0]), argv[1:]
    return worker.attempt(
        lambda: run_cases(directory, [case for case in CASES if case.name in names]), report
    )


def run_cases(directory: Path, cases: list[Case]) -> None:
    """Take cases of one number of processes, in turn."""
    rank = rank_from_environment()
    assert rank is not None
    log_to(directory / "log.txt", rank.global_rank)
    log.info("takes %s", ", ".join(case.name for case in cases))
    init_distributed(rank, find_device(rank.local_rank).backend, 2 * STALL_S)
    with Watchdog(STALL_S, directory / f"stacks-rank-{rank.global_rank:05d}.txt") as watchdog:
        for case in cases:
            numbers = run_case(case, directory, rank)
            watchdog.beat()
            if rank.is_first:
                append_numbers(directory, case.name, numbers)
    dist.destroy_process_group()


def run_case(case: Case, directory: Path, rank: Rank) -> CaseNumbers:
    """Take the steps, saving on the way; then the last ones again, from the reference's checkpoint."""
    config = case.config(directory / case.name)
    require_layout(config, rank.world_size)
    forget_pipeline_groups()
    device = find_device(rank.local_rank, case.precision)
    engine = build_engine(config, device)
    seed_generators(config.run.seed, 0, rank.global_rank)
    loader = TrainLoader(
        samples,
        eot=EOT,
        micro=config.batch.micro_batch_size,
        dp_rank=engine.dp_rank,
        dp_size=engine.dp_size,
        device=device.type,
    )
    rates = [rate * config.optimizer.lr for rate in RATES]
    steps = advance(engine, loader, rates, 0, SAVED_AFTER)
    write(engine, config, rank)
    steps += advance(engine, loader, rates, SAVED_AFTER, len(BATCHES))
    after, count = first_sample(len(BATCHES)), min(BATCHES)
    held_out = engine.eval_loss(loader.batches(after, count), count)

    reference = REFERENCES[case.precision].config(directory / REFERENCES[case.precision].name)
    load(Checkpoint.open(reference.run.dir / "checkpoints" / f"step-{SAVED_AFTER:08d}"), engine, config)
    write(engine, case.config(directory / f"{case.name} again"), rank)
    resumed = advance(engine, loader, rates, SAVED_AFTER, len(BATCHES))
    loader.close()
    return CaseNumbers(steps, held_out, resumed)


def advance(engine: Engine, loader: TrainLoader, rates: list[float], first: int, last: int) -> Steps:
    """Take the steps [first, last)."""
    steps = []
    for step in range(first, last):
        batches = loader.batches(first_sample(step), BATCHES[step])
        loss = engine.train_batch(batches, BATCHES[step], rates[step])
        steps.append((loss, engine.grad_norm()))
    return steps


def write(engine: Engine, config: RunConfig, rank: Rank) -> None:
    """Save what the engine holds."""
    now = RunState(step=SAVED_AFTER, updates=updates(engine.optimizer))
    save(config.run.dir, config, engine, now, rank)


def append_numbers(directory: Path, name: str, numbers: CaseNumbers) -> None:
    """Append a case's numbers to what the parent reads."""
    with (directory / "numbers.jsonl").open("a") as file:
        file.write(json.dumps({"case": name, **dataclasses.asdict(numbers)}) + "\n")


if __name__ == "__main__":
    worker.run(main)
