"""A worker that claims parts of a step and makes almost nothing of them: it sleeps, and writes a record.

    python -m benchmarks.scale.claimant ROOT PARTS QUOTA SECONDS

It makes QUOTA parts of SECONDS each, or what is left. It claims as `store/claiming.py` does: it lists records
and claims, takes the first part from a place of its own that nobody alive holds, and makes again what a
worker that is gone has held. What it did goes to ROOT/results/WORKER.json.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import xxhash

from dataprep.store.claims import Claims, Tries
from dataprep.store.files import write_once
from dataprep.store.workers import Pulses, new_worker, write_worker

STEP = "scale"
LOOK_S = 0.2
HEARTBEAT_S = 5.0
SILENT_S = 60.0


def main() -> None:
    """Be the worker."""
    begun = time.time()
    root, parts, quota, seconds = Path(sys.argv[1]), *map(int, sys.argv[2:4]), float(sys.argv[4])
    worker = new_worker("cpu", 1)
    claims, pulses = Claims(root / "jobs", STEP, worker), Pulses(root, SILENT_S)
    names = [f"{number:05d}" for number in range(parts)]
    first = xxhash.xxh3_64_intdigest(worker.name.encode()) % parts
    names = names[first:] + names[:first]
    spent: dict[str, list[float]] = {"look": [], "claim": [], "record": []}
    races_lost, shown = 0, 0.0

    def timed(what: str, since: float) -> None:
        spent[what].append(time.perf_counter() - since)

    claims.begin()
    while worker.made < quota:
        if time.monotonic() - shown > HEARTBEAT_S:
            write_worker(root, worker)
            shown = time.monotonic()
        since = time.perf_counter()
        records = {name.removesuffix(".json") for name in os.listdir(root / "records")}
        tries = claims.tries()
        left = [name for name in names if name not in records]
        timed("look", since)
        if not left:
            break
        for name in left:
            if is_held(claims, pulses, name, tries[name]):
                continue
            since = time.perf_counter()
            taken = claims.take(name, tries[name].next)
            timed("claim", since)
            if taken:
                break
            races_lost += 1
        else:
            time.sleep(LOOK_S)
            continue
        time.sleep(seconds)
        since = time.perf_counter()
        worker.made += write_once(root / "records" / f"{name}.json", json.dumps(worker.name).encode())
        timed("record", since)
    worker.ended = "whole"
    write_worker(root, worker)
    found = {"begun": begun, "made": worker.made, "races_lost": races_lost, "slurm": worker.slurm, **spent}
    (root / "results" / f"{worker.name}.json").write_text(json.dumps(found))


def is_held(claims: Claims, pulses: Pulses, part: str, tries: Tries) -> bool:
    """Whether a living worker has a part; notes the tries of the others as lost."""
    held = False
    for number in tries.open:
        holder = claims.holder(part, number)
        if holder and pulses.is_dead(holder):
            if (claims.folder.parent / "records" / f"{part}.json").exists():
                return True  # made since the records were listed
            claims.lose(part, number, holder)
        else:
            held = True
    return held


if __name__ == "__main__":
    main()
