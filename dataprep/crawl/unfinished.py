"""What a crawl has in hand that was stopped: WARC files and journals that no record names yet."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from dataprep.corpus.directory import Increment
from dataprep.crawl.hop_plan import STEP
from dataprep.crawl.journal import Line, adopted
from dataprep.crawl.targets import SCHEMA, row

_JOURNAL = re.compile(r"(?P<part>[^.].*)-(?P<attempt>\d{4,})\.journal")


def journals(increment: Increment) -> dict[Path, list[Line]]:
    """The journals of partitions that are not committed, each with the lines that stand.

    They and their WARC files are cut to these, as the next attempt would: nobody may crawl meanwhile.
    """
    done = {record.part for record in increment.parts(STEP)}
    return {
        path: adopted(path.parent, match["part"], int(match["attempt"]))
        for path in sorted((increment.path / "pages").glob("*.journal"))
        if (match := _JOURNAL.fullmatch(path.name)) and match["part"] not in done
    }


def fetches(increment: Increment, root: Path) -> tuple[list[str], pa.Table]:
    """The WARC files of these partitions, relative to the corpus, and their rows as in `fetch`."""
    lines = [line for journal in journals(increment).values() for line in journal]
    pages = str((increment.path / "pages").relative_to(root))
    files = sorted({f"{pages}/{line.warc}" for line in lines if line.warc})
    return files, pa.Table.from_pylist([row(line.fetch, pages) for line in lines], schema=SCHEMA)
