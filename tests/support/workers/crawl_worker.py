"""A worker that crawls, with times and partitions small enough for a test.

    python crawl_worker.py CORPUS SETTINGS      (JSON of CrawlSettings)

Ends with 75 when it was stopped, with 1 and a message for a DataError. Prints what it did.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dataprep.corpus.directory import Increment
from dataprep.crawl import hop, partitioning, turns
from dataprep.crawl.settings import CrawlSettings
from dataprep.errors import DataError
from dataprep.store.presence import Presence, Stopped
from dataprep.store.workers import new_worker
from dataprep.work import crawler, work
from support.patience import patient
from support.ready_corpus import no_progress

PART_LINKS = 6
LEASE_S = 1.0
SILENT_S = patient(4)
SILENT_SITES = 1


@contextmanager
def unseen(_: Increment) -> Iterator[Callable[[object], None]]:
    yield lambda _: None


def main() -> int:
    root, settings = Path(sys.argv[1]), CrawlSettings.model_validate_json(sys.argv[2])
    partitioning.PART_LINKS, hop.SILENT_SITES = PART_LINKS, SILENT_SITES
    hop.LOOK_S = turns.LOOK_S = 0.05
    worker = new_worker("fetch", 1)
    times = {"heartbeat_s": 0.2, "lease_s": LEASE_S, "silent_s": SILENT_S}
    try:
        print(work(crawler(settings, unseen), Presence(root, worker, grace=0, **times), no_progress))
    except Stopped:
        return 75
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
