"""A worker at a toy step, in a process of its own: `python -m support.workers.toy_worker`.

Its arguments are the directory, the number of parts, the version, the grace in seconds, and after how many
seconds it makes again what another holds.

Ends as `outbound corpus work` does: 0 when the step is whole, 75 when it was stopped, else 1 with the reason
on stderr. Prints what it made.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from dataprep.errors import DataError
from dataprep.store.claiming import Claiming
from dataprep.store.presence import Presence, Stopped
from dataprep.store.requests import Excluded
from dataprep.store.step import run_step
from dataprep.store.workers import new_worker
from support.patience import patient
from support.ready_corpus import no_progress
from support.toy_steps import BEHAVING, Toy


def main() -> int:
    directory, parts, version, grace, repeat = sys.argv[1:]
    scope = Toy(root=Path(directory), parts=int(parts), version=version)
    worker = new_worker("cpu", 2)
    presence = Presence(scope.root, worker, grace=float(grace), heartbeat_s=0.2, silent_s=patient(4))
    claims = Claiming(presence, look_s=0.05, repeat_s=float(repeat), hung_s=patient(4))
    try:
        with presence.kept(), closing(claims) as claiming:
            while True:
                try:
                    run_step(BEHAVING, scope, claiming, no_progress)
                    break
                except Excluded:
                    presence.stand_aside(look_s=0.05)
    except Stopped:
        return 75
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    print(worker.made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
