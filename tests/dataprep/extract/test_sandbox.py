"""A child may hang, explode or crash; the call says so, and the next one is answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus.recipe import Extraction
from dataprep.errors import DataError
from dataprep.extract.sandbox import Limits, Misbehaved, Sandbox, Sandboxes
from dataprep.warc.gzip_members import deflated
from support.kills import kill
from support.patience import patient, wait_until

LIMITS = Limits(cpu_s=0.3, memory_bytes=256 << 20)


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    sandbox = Sandbox("support.sandboxed_calls:call")
    yield sandbox
    sandbox.close()


@pytest.mark.slow(2)
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("compute", "timed_out"),
        ("wait", "timed_out"),
        ("grow", "out_of_memory"),
        ("ask for too much", "out_of_memory"),
        ("crash", "crashed"),
        ("exit", "crashed"),
    ],
)
def test_every_way_to_misbehave_is_a_reason_and_costs_no_neighbour(
    shared: Sandbox, what: str, reason: str
) -> None:
    cpu_s = {"grow": 60, "wait": 0.05}.get(what, LIMITS.cpu_s)
    assert shared.call(LIMITS, "before")[0] == "before"
    with pytest.raises(Misbehaved) as raised:
        shared.call(Limits(cpu_s, LIMITS.memory_bytes), what)
    assert str(raised.value) == reason
    assert shared.call(LIMITS, "after")[0] == "after"


def test_a_child_that_behaves_is_kept_and_its_prints_are_no_replies(shared: Sandbox) -> None:
    pids = {shared.call(LIMITS, what)[1] for what in ("one", "print", "x" * 1_000_000, "two")}
    assert len(pids) == 1
    with pytest.raises(DataError, match="is missing"):
        shared.call(LIMITS, "fail")
    assert shared.call(LIMITS, "three")[1] in pids


@pytest.mark.slow(4)
def test_a_child_killed_from_outside_is_no_fault_of_the_page(shared: Sandbox, tmp_path: Path) -> None:
    notes = tmp_path / "pids"
    notes.touch()

    def kill_the_first() -> None:
        wait_until(lambda: notes.read_text().endswith("\n"), "the first child's note")
        os.kill(int(notes.read_text()), signal.SIGKILL)

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_the_first)
        with pytest.raises(Misbehaved, match="timed_out"):  # the second child sleeps to its limit
            shared.call(Limits(patient(0.1), LIMITS.memory_bytes), "note and wait", str(notes))
        killing.result()
    assert len(set(notes.read_text().split())) == 2, (
        "the first child was killed in the call, which had another"
    )


def test_calls_are_answered_in_their_order_by_several_children() -> None:
    calls = [(f"call {number}",) if number != 5 else ("crash",) for number in range(20)]
    found = list(Sandboxes("support.sandboxed_calls:call").map(LIMITS, calls, 2))
    assert [str(each) if isinstance(each, Misbehaved) else each[0] for each in found] == [
        "crashed" if what == "crash" else what for (what,) in calls
    ]


@pytest.mark.slow(1)
def test_children_leave_with_their_parent(tmp_path: Path) -> None:
    """A parent killed by `kill -9` leaves neither an idle child nor one that hangs."""
    code = """
import sys
from threading import Thread
from dataprep.warc.gzip_members import deflated
from dataprep.extract.sandbox import *
idle, busy = Sandbox("support.sandboxed_calls:call"), Sandbox("support.sandboxed_calls:call")
print(*[each.call(Limits(1, 1 << 30), "x")[1] for each in (idle, busy)], flush=True)
busy.call(Limits(0.5, 1 << 30), "compute")
"""
    paths = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert [running(pid) for pid in pids] == [True, True]
        kill(parent)
    wait_until(lambda: not any(running(pid) for pid in pids), "the end of both children")


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


P = "<p>The harbour of the old town is quiet in winter, and the boats lie still. {}</p>"


def html(inner: str) -> bytes:
    return f"<html><head><title>T</title></head><body><article>{inner}</article></body></html>".encode()


HOSTILE: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "50,000 paragraphs": (html("".join(map(P.format, range(50_000)))), {}, "too_many_elements"),
    "50,000 paragraphs, no bound on elements": (
        html("".join(map(P.format, range(50_000)))),
        {"max_elements": 10**6, "cpu_seconds": 1.5},
        "timed_out",
    ),
    "a tag of 100,000 attributes": (
        html(f"<p {' '.join(f'a{number}=1' for number in range(100_000))}>x</p>"),
        {"cpu_seconds": 1.5},
        "timed_out",
    ),
    "100,000 tags in one another": (html("<div>" * 100_000 + P + "</div>" * 100_000), {}, "too_deep"),
    "a million tags": (
        html("<b>x</b>" * 1_000_000),
        {"max_elements": 10**7, "memory_mb": 256},
        "out_of_memory",
    ),
    "10 MB": (html("x" * 10_000_000), {}, "too_large"),
    "4.5 MB in 3,000 paragraphs": (html("".join(P.format(f"{n} " * 320) for n in range(3000))), {}, ""),
}


@pytest.mark.slow(6)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_end_as_one_reason_each(tmp_path: Path, name: str) -> None:
    body, settings, reason = HOSTILE[name]
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    fields = b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n" % len(block)
    member = deflated(fields + block + b"\r\n\r\n")
    (tmp_path / "a.warc.gz").write_bytes(member)
    extraction = Extraction(**settings)
    sandbox = Sandbox("dataprep.extract.page_text:in_sandbox")
    place = str(tmp_path / "a.warc.gz"), 0, len(member)
    limits = Limits(extraction.cpu_seconds, extraction.memory_mb << 20)
    try:
        found = sandbox.call(limits, *place, "http://a.test/", extraction.model_dump())
    except Misbehaved as misbehaved:
        found = {"reason": str(misbehaved)}
    finally:
        sandbox.close()
    assert found.get("reason", "") == reason
    assert reason or len(found["text"]) > 4_000_000
