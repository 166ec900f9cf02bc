"""Run `outbound` and kill it (SIGKILL) after N pages or parts: `killed_after.py N pages|part WORD...`."""

from __future__ import annotations

import sys
from typing import Any

from kills import die_before

from dataprep.crawl.journal import Attempt
from dataprep.documents import extract

PLACES: dict[str, tuple[Any, str]] = {"pages": (Attempt, "finish"), "part": (extract, "publish_table")}

if __name__ == "__main__":
    done = int(sys.argv.pop(1))
    die_before(done + 1, *PLACES[sys.argv.pop(1)])
    from pipeline.cli.main import main

    main()
