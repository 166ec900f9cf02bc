"""The check itself, by all ranks together once they have met: measure, note, and refuse bad nodes."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from dataprep.store import files
from pipeline.checkpoint.attempts import Attempt, host_name
from pipeline.distributed import zero_state
from pipeline.distributed.device import Device
from pipeline.distributed.ranks import Rank, gather_json
from pipeline.errors import BadNodes, UsageError
from pipeline.train.nodes import describe, judge, measure
from pipeline.train.nodes.judge import Facts, Speed

FILE = "node_check.json"

log = logging.getLogger("outbound")


def check_nodes(attempt: Attempt, settings: BaseModel, parameters: int, rank: Rank, device: Device) -> None:
    """Compare the nodes of a run, if Slurm has given them or there are several; every rank must call it.

    settings: must be equal on all nodes. parameters: of the model whose checkpoints are to be stored.

    What is found goes to FILE in the attempt's folder and to the log, and a line of it to the terminal.

    Raises BadNodes on every rank when some nodes are bad, UsageError when all of several nodes are, or when
    there is no room for a checkpoint.
    """
    began = time.perf_counter()
    nodes = gather_json(host_name(), device.type)
    if len(set(nodes)) == 1 and not rank.srun:
        return
    facts = [
        Facts(**row) for row in gather_json(asdict(measure.facts(attempt, settings, device)), device.type)
    ]
    offsets_s = measure.clocks(device)
    bad = judge.reasons(judge.unlike(facts, offsets_s))
    speeds: list[Speed] = []
    all_reduce = None
    if not bad:  # another version might measure otherwise, and wait for ever
        speeds = measure.speeds(nodes, rank, device)
        all_reduce = measure.all_reduce(device)
        if device.type == "cuda":  # the cores of a CPU may have other work
            bad = judge.reasons(judge.slow(nodes, speeds))
    checkpoint_bytes = 4 * len(zero_state.KINDS) * parameters
    if rank.is_first:
        seconds = time.perf_counter() - began
        for line in describe.each_node(nodes, [fact.device for fact in facts], offsets_s, speeds):
            log.info(line)
        line = f"checked in {seconds:.1f} s: {describe.summary(nodes, offsets_s, speeds, all_reduce)}"
        log.info(line)
        print(line, file=sys.stderr, flush=True)
        found = {
            "bad": bad,
            "seconds": seconds,
            "checkpoint_bytes": checkpoint_bytes,
            "all_reduce_bytes_per_s": all_reduce,
            "ranks": _rows(facts, offsets_s, speeds),
        }
        files.replace(attempt.folder / FILE, json.dumps(found, indent=1).encode() + b"\n")
    if bad and len(bad) == len(set(nodes)) > 1:
        raise UsageError(f"all nodes of this job are bad: {BadNodes(bad)}")
    if bad:
        raise BadNodes(bad)
    free = max(fact.run_free_bytes for fact in facts)
    if free < checkpoint_bytes:
        raise UsageError(
            f"{attempt.run}: {free / 1e9:.1f} GB are free, and a checkpoint takes "
            f"{checkpoint_bytes / 1e9:.1f} GB: make room, or choose another run.dir"
        )


def _rows(facts: list[Facts], offsets_s: list[float], speeds: list[Speed]) -> list[dict[str, Any]]:
    """All that each rank has found; no speeds when none were measured."""
    rows = [asdict(fact) | {"clock_offset_s": offset} for fact, offset in zip(facts, offsets_s, strict=True)]
    return [row | asdict(speed) for row, speed in zip(rows, speeds, strict=True)] if speeds else rows
