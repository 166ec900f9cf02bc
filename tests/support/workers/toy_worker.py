"""A worker at a toy step, in a process of its own: `python -m support.workers.toy_worker`.

Its arguments are the directory, the number of parts, the version and the grace in seconds.

Ends as `outbound corpus work` does: 0 when the step is whole, 75 when it was stopped, else 1 with the reason
on stderr. Prints what it made.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dataprep.errors import DataError
from dataprep.store.claiming import Claiming, Stopped, Timing
from dataprep.store.requests import Excluded
from dataprep.store.step import run_step
from dataprep.store.workers import new_worker
from support.patience import patient
from support.ready_corpus import no_progress
from support.toy_steps import BEHAVING, Toy


def main() -> int:
    directory, parts, version, grace = sys.argv[1:]
    scope = Toy(root=Path(directory), parts=int(parts), version=version)
    timing = Timing(look=0.05, repeat=0.5, silent=patient(4), hung=patient(4), heartbeat=0.2)
    worker = new_worker("cpu", 2)
    claiming = Claiming(scope.root, worker, timing, grace=float(grace))
    try:
        with claiming.working():
            while True:
                try:
                    run_step(BEHAVING, scope, claiming, no_progress)
                    break
                except Excluded:
                    claiming.stand_aside()
    except Stopped:
        return 75
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    print(worker.made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
