"""What people get to see of a crawl: a terminal, a log, W&B."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from dataprep.corpus.directory import Increment
from dataprep.crawl.progress import SlowSite, View
from pipeline.monitor import crawl_view
from pipeline.monitor.crawl_view import watching

VIEW = View(
    "fetch",
    done=30,
    total=100,
    pages_per_s=2.5,
    urls_per_s=3.0,
    outcomes=Counter({"ok": 25, "timeout": 2, "deferred": 3}),
    slowest=(SlowSite("slow.test", 40, 1.5), SlowSite("less.test", 1, 1.0)),
    sites_waiting=7,
    sites_under_way=4,
    requests=3,
    time_left_s=65.0,
)
LINE = (
    "fetch 30/100 URLs, 2.5 pages/s, 1:05 left; queue: 7 sites wait, 4 under way, 3 requests, 3 deferred; "
    "outcomes: ok 25, deferred 3, timeout 2; "
    "slowest: slow.test (40 left, 1.5 s each), less.test (1 left, 1.0 s each)\n"
)


@pytest.fixture
def increment(tmp_path: Path) -> Increment:
    path = tmp_path / "corpus" / "increments" / "0001-2013-08"
    path.mkdir(parents=True)
    return Increment(1, "2013-08", path)


def test_a_log_gets_a_plain_line_now_and_then_and_one_at_the_end(
    tmp_path: Path, increment: Increment, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Console(file=io.StringIO(), force_terminal=False, width=40)
    with watching(tmp_path, None, log, increment) as look:
        look(VIEW)
        look(VIEW)
        assert log.file.getvalue() == ""  # type: ignore[attr-defined]
        monkeypatch.setattr(crawl_view, "LINE_EVERY_S", 0.0)
        look(VIEW)
        assert log.file.getvalue() == LINE  # type: ignore[attr-defined]
        monkeypatch.undo()
        look(View("moved", done=1, total=1))
    assert log.file.getvalue().splitlines()[1].startswith("moved 1/1 URLs")  # type: ignore[attr-defined]


def test_a_terminal_gets_a_block_that_is_drawn_anew(tmp_path: Path, increment: Increment) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    with watching(tmp_path, None, terminal, increment) as look:
        look(View("fetch", done=0, total=100))
        look(VIEW)
    drawn = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "0/100 URLs, 0.0 pages/s, ? left" in drawn
    last = drawn[drawn.rindex("fetch") :]
    assert "30/100 URLs, 2.5 pages/s, 1:05 left" in last
    assert "7 sites wait, 4 under way, 3 requests, 3 deferred" in last
    assert "ok 25, deferred 3, timeout 2" in last
    assert "slow.test (40 left, 1.5 s each), less.test" in last


LOG_TWICE = f"""
import io, sys
from collections import Counter
from pathlib import Path
from rich.console import Console
from dataprep.corpus.directory import Increment
from dataprep.crawl.progress import SlowSite, View
from pipeline.monitor import crawl_view

crawl_view.LOG_EVERY_S = 0.0
path = Path(sys.argv[1])
increment = Increment(1, "2013-08", path)
with crawl_view.watching(path.parents[1], "crawls", Console(file=io.StringIO()), increment) as look:
    look(View("fetch", done=int(sys.argv[2]), total=100))
    look({VIEW!r})
"""


@pytest.mark.slow(2)
def test_wandb_offline_holds_the_numbers_under_one_run_per_increment(increment: Increment) -> None:
    """W&B's file is whole when the process that logs has ended."""
    root = increment.path.parents[1]
    for done in (10, 20):  # `corpus add`, and again
        command = [sys.executable, "-c", LOG_TWICE, str(increment.path), str(done)]
        subprocess.run(command, env=os.environ | {"WANDB_MODE": "offline"}, check=True)
    files = list(root.glob("wandb/offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1
    histories = sorted((history(file) for file in files), key=lambda rows: rows[0]["fetch/done"])
    for rows, done in zip(histories, ("10", "20"), strict=True):
        assert [row["fetch/done"] for row in rows] == [done, "30"]
        last = rows[-1]
        assert float(last["fetch/pages_per_s"]) == 2.5
        assert float(last["fetch/time_left_s"]) == 65
        assert float(last["fetch/slowest/time_left_s"]) == 60
        counts = {name: last[f"fetch/{name}"] for name in ("outcomes/ok", "deferred", "queue/sites_waiting")}
        assert counts == {"outcomes/ok": "25", "deferred": "3", "queue/sites_waiting": "7"}


def history(file: Path) -> list[dict[str, str]]:
    """The rows logged to an offline W&B file: the name of each number, and the number as JSON."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for data in leveldb_records(file.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append(
                {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            )
    return rows


def leveldb_records(data: bytes, block: int = 32768, file_header: int = 7) -> Iterator[bytes]:
    """The records of a LevelDB log: chunks after (checksum uint32, length uint16, type uint8), in blocks."""
    at, pending = file_header, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        pending += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last chunk
            yield pending
            pending = b""
