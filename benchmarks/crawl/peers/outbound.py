"""Our crawler with all that it always does: opt-outs, caps, WARC, journal. `outbound.py JOB OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import xxhash

from dataprep.crawl.partition import CrawlSettings, Target, fetch_part


def main(job: Path, out: Path) -> None:
    work = json.loads(job.read_text())
    targets = [
        Target(f"http://{site}{path}", xxhash.xxh3_128_digest(f"{site}{path}".encode()), site)
        for site, paths in work["sites"].items()
        for path in paths
    ]
    settings = CrawlSettings(
        contact="benchmark@example.org",
        allow_loopback=True,
        connect_to=(f"::127.0.0.1:{work['port']}",),
        delay_s=0,
        concurrency=work.get("concurrency", len(work["sites"])),
    )
    rows = fetch_part("part", targets, out, settings, lambda _: None)
    json.dump({"pages": sum(row.outcome == "ok" for row in rows)}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
