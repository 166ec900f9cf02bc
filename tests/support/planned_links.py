"""Links of a crawl as tables, to plan from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import xxhash

from dataprep.crawl.hop_plan import TARGETS

HOP = "round-000-1"
INPUTS = {"links": "0"}
SIZES = {"giant.test": 11, "long.test": 4, "short.test": 2, "other.test": 1, "last.test": 1}
"""Links of each site; where a partition has four links, the giant has partitions of its own."""


def target(site: str, number: int, url: str | None = None) -> dict[str, Any]:
    named = f"http://{site}/{number}"
    key = xxhash.xxh3_128_digest(named.encode())
    shown = named if url is None else url
    where = site if shown else ""
    return {"url": shown, "url_key": key, "site": where, "first_seen": number, "original": "", "live": None}


def links(sizes: dict[str, int]) -> list[dict[str, Any]]:
    return [target(site, number) for site, size in sizes.items() for number in range(size)]


def tables(rows: list[dict[str, Any]], size: int = 7) -> Iterator[pa.Table]:
    for start in range(0, len(rows), size):
        yield pa.Table.from_pylist(rows[start : start + size], schema=TARGETS)
