"""How fast nodes multiply and exchange, and how their clocks differ: what a training job checks at its start.

Each task of srun measures with the others; on one machine `measure_here` starts processes, as
`python -m pipeline.preflight.speed FILE`.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.distributed as dist

from pipeline.checkpoint.attempts import host_name
from pipeline.distributed.device import find_device
from pipeline.distributed.launch import launch
from pipeline.distributed.ranks import Rank, gather_json, init_distributed, rank_from_environment
from pipeline.train import worker
from pipeline.train.nodes import describe, judge, measure

MODULE = "pipeline.preflight.speed"
TIMEOUT_S = 300.0


def main(argv: list[str], report: TextIO) -> int:
    """Measure as one of several processes of this machine; exit code 0, 1 or 2."""

    def work() -> None:
        rank = rank_from_environment()
        assert rank is not None
        found = measure_with_others(rank)
        if rank.is_first:
            Path(argv[0]).write_text(json.dumps(found))

    return worker.attempt(work, report)


def measure_here(gpu: bool) -> dict[str, Any]:
    """As `measure_with_others`, in processes of this machine: one for each GPU, or two on the CPU."""
    with tempfile.TemporaryDirectory(prefix="outbound-speed-") as directory:
        file = Path(directory) / "found.json"
        launch([str(file)], torch.cuda.device_count() if gpu else 2, MODULE)
        found: dict[str, Any] = json.loads(file.read_text())
        return found


def measure_with_others(rank: Rank) -> dict[str, Any]:
    """Measure as one of several processes; returns the same on all of them.

    {"nodes": a line for each, "summary": a line, "slow": {node: reason}, "all_reduce_bytes_per_s": number,
    "ranks": [what each measured]}
    """
    device = find_device(rank.local_rank)
    init_distributed(rank, device.backend, TIMEOUT_S)
    try:
        nodes = gather_json(host_name(), device.type)
        devices = gather_json(measure.device_name(device), device.type)
        offsets_s = measure.clocks(device)
        speeds = measure.speeds(nodes, rank, device)
        all_reduce = measure.all_reduce(device)
    finally:
        dist.destroy_process_group()
    rows = zip(nodes, devices, offsets_s, speeds, strict=True)
    return {
        "nodes": describe.each_node(nodes, devices, offsets_s, speeds),
        "summary": describe.summary(nodes, offsets_s, speeds, all_reduce),
        "slow": judge.reasons(judge.slow(nodes, speeds)) if device.type == "cuda" else {},
        "all_reduce_bytes_per_s": all_reduce,
        "ranks": [
            {"node": node, "device": name, "clock_offset_s": offset, **asdict(speed)}
            for node, name, offset, speed in rows
        ],
    }


if __name__ == "__main__":
    worker.run(main)
