"""W&B's offline files read back: protocol buffers in LevelDB's log format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK = 7, 1 << 15
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """Every record of a `.wandb` file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data.startswith(b":W&B"), "its own header, as long as one of LevelDB's"
    at, parts = HEADER, b""
    while at < len(data):
        if BLOCK - at % BLOCK < HEADER:  # too little room for a header: padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == 0:
            return
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def history(path: Path) -> list[dict[str, Any]]:
    """The rows that were logged, each with W&B's own `_step`."""
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records(path)
        if record.HasField("history")
    ]


def axes(path: Path) -> dict[str, str]:
    """Metric, or a pattern of metrics -> the metric on its x-axis."""
    found = [record.metric for record in records(path) if record.HasField("metric")]
    return {each.glob_name or each.name: each.step_metric for each in found}


def summary(path: Path) -> dict[str, Any]:
    """The run's summary at its end."""
    found: dict[str, Any] = {}
    for record in records(path):
        if record.HasField("summary"):
            for item in record.summary.update:
                found["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return found
