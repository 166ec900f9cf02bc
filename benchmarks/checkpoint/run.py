"""Saving and loading our checkpoints against torch.save + fsync and torch.load of the same tensors.

    python -m benchmarks.checkpoint.run

GPT-2 small's weights and both moments, 1.5 GB in fp32, in one process with DeepSpeed's plain engine. Ours is
what training does: `pipeline.train.resume.save` (hashed while written, searched for NaN, synced, renamed),
then `find`, which verifies the hash, and `load` into the engine. Theirs is a dictionary of the same tensors,
and after `torch.load` (weights_only, not mapped) a copy of each into place. In turn in one process, one
thread; the files are in the page cache when they are read.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from model.names import unpadded
from model.presets import PRESETS
from pipeline.checkpoint.format import first_whole, saved_in
from pipeline.checkpoint.run_state import RunState
from pipeline.config import Batch, Data, Optimizer, Parallel, Run, RunConfig, Train
from pipeline.distributed import zero_state
from pipeline.distributed.device import find_device
from pipeline.distributed.engine import Engine, build_engine
from pipeline.distributed.ranks import Rank, init_distributed
from pipeline.train.resume import load, save

GOAL = 1.3
WARM_BYTES = 4 << 30


def main() -> None:
    """Save and load in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="gpt2-small")
    parser.add_argument("--zero", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="where to write; on the disk to be measured")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.directory) as temporary:
        compare(chosen.preset, chosen.zero, chosen.repeats, Path(temporary))


def compare(preset: str, zero: int, repeats: int, directory: Path) -> None:
    """Print wall and CPU seconds, ratios, and what each adds to the memory of the process at its peak."""
    config = RunConfig(
        run=Run(dir=directory, seed=0),
        data=Data(tokens=directory),
        model=PRESETS[preset],
        optimizer=Optimizer(lr=1e-4),
        batch=Batch(global_batch_size=1, micro_batch_size=1, batch_size_multiple=1),
        parallel=Parallel(zero_stage=zero),  # type: ignore[arg-type]
        train=Train(tokens=1 << 20, eval_sequences=1, keep_last=1),
    )
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29533"}
    rank = Rank(global_rank=0, world_size=1, local_rank=0)
    device = find_device(0)
    init_distributed(rank, device.backend, 600)
    engine = build_engine(config, device)
    zero_state.set_updates(engine.optimizer, 1)
    everything = tensors(engine)
    for name, tensor in everything.items():  # rows that pad the vocabulary stay zero: files do not hold them
        unpadded(name.partition("/")[2], tensor, config.model).normal_(std=0.02)
    now = RunState(updates=1)
    pickled = directory / "all.pt"

    def our_save() -> None:
        save(directory, config, engine, now, rank)

    def our_load() -> None:
        checkpoint = first_whole(saved_in(directory))
        assert checkpoint is not None
        load(checkpoint, engine, config)

    def their_save() -> None:
        with pickled.open("wb") as file:
            torch.save(everything, file)
            file.flush()
            os.fsync(file.fileno())

    def their_load() -> None:
        for name, tensor in torch.load(pickled, weights_only=True, mmap=False).items():
            everything[name].copy_(tensor)

    taken: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(repeats):
        for path in directory.glob("checkpoints/step-*"):
            path.rename(directory / "old")
        for name, work in (("torch.save + fsync", their_save), ("our save", our_save)):
            taken.setdefault(name, []).append(timed(work))
        remove(directory / "old")
        want = {name: tensor.clone() for name, tensor in list(everything.items())[::50]}
        for name, work in (("torch.load", their_load), ("our load", our_load)):
            for tensor in everything.values():
                tensor.zero_()
            taken.setdefault(name, []).append(timed(work))
            everything = tensors(engine)
            assert all(torch.equal(everything[each], tensor) for each, tensor in want.items()), name
        pickled.unlink()
    size = sum(tensor.numel() * 4 for tensor in everything.values())
    print(f"\n{preset}, ZeRO-{zero}: {size / 1e9:.2f} GB; medians of {repeats} turns\n")
    print("| | wall s | lowest and highest | CPU s | added memory at the peak, MB | ours / it, wall | CPU |")
    print("|---|---|---|---|---|---|---|")
    for theirs, ours in (("torch.save + fsync", "our save"), ("torch.load", "our load")):
        own = [statistics.median(each[n] for each in taken[ours]) for n in range(3)]
        for name in (theirs, ours):
            wall, cpu, peak = (statistics.median(each[n] for each in taken[name]) for n in range(3))
            walls = sorted(each[0] for each in taken[name])
            print(
                f"| {name} | {wall:.2f} | {walls[0]:.2f} to {walls[-1]:.2f} | {cpu:.2f} | {peak / 1e6:,.0f} "
                f"| {own[0] / wall:.2f} | {own[1] / cpu:.2f} |"
            )


def tensors(engine: Engine) -> dict[str, torch.Tensor]:
    """What a checkpoint holds, as it lies in the engine's own memory."""
    return {
        f"{kind}/{name}": zero_state.read(parameter, kind, engine.optimizer)
        for name, parameter in engine.parameters.items()
        for kind in zero_state.KINDS
    }


def timed(work: Callable[[], None]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, and bytes by which resident memory rose at its peak.

    Memory is touched and freed just before: a virtual machine that gives free memory back to its host would
    else charge whoever comes second for getting it again, which is more than the writing.
    """
    torch.ones(WARM_BYTES // 4)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status_bytes("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return *spent, status_bytes("VmHWM") - before


def status_bytes(field: str) -> float:
    """A line of the process's own status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def remove(directory: Path) -> None:
    """A checkpoint that is no longer needed."""
    for path in directory.glob("*"):
        path.unlink()
    if directory.exists():
        directory.rmdir()


if __name__ == "__main__":
    main()
