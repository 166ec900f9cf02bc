"""Whatever order claims, heartbeats and failures come in: nobody asks a site that another has taken over."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataprep.corpus.directory import Increment
from dataprep.crawl import hop_plan
from dataprep.crawl.hop_plan import HopPlan, Partition
from dataprep.crawl.progress import Watch
from dataprep.crawl.turns import Turns
from dataprep.store import presence, workers
from dataprep.store.checksummed_json import dump
from dataprep.store.files import Output
from dataprep.store.presence import LEASE_S, LeaseLapsed, Presence
from dataprep.store.workers import SILENT_S, Worker, new_worker
from support.ready_corpus import make_corpus

NOTHING = Output(path="", bytes=0, xxh3_128="")
PLAN = HopPlan(
    hop="round-000-1",
    inputs={},
    partitions=[Partition(name=name, links=1, sites=1, targets=NOTHING) for name in ("left", "right")],
    sizes=NOTHING,
)
ACTORS = st.integers(0, 2)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([20.0, LEASE_S + 1, SILENT_S - LEASE_S, SILENT_S])),
        st.tuples(st.sampled_from(["beat", "fail to beat", "claim", "ask", "leave"]), ACTORS),
    ),
    max_size=40,
)
TAKEN_OVER = [
    ("claim", 0),
    ("fail to beat", 0),
    ("claim", 1),
    ("wait", SILENT_S),
    ("fail to beat", 0),
    ("claim", 1),
    ("ask", 0),
    ("ask", 1),
]


class Crawler:
    """A worker on a machine of its own, by a clock that the test moves."""

    def __init__(self, increment: Increment, root: Path, name: str) -> None:
        worker = new_worker("fetch", 1)
        worker.name = worker.host = worker.machine = name
        self.presence = Presence(root, worker)
        self.presence.show([])
        self.turns = Turns(increment, PLAN, self.presence, Watch(lambda _: None, "fetch", 2))

    def asked(self) -> set[str]:
        """The partitions whose sites it may ask; when its lease has lapsed it begins anew."""
        try:
            self.presence.require_lease()
        except LeaseLapsed:
            self.turns.release()
            self.presence.show([])
        return {part.part for part in self.turns.open}


@pytest.mark.slow(5)
@settings(max_examples=30, deadline=None)
@given(MOVES)
@example(TAKEN_OVER)
def test_nobody_asks_a_site_that_another_has_taken_over(moves: list[tuple[str, int | float]]) -> None:
    now, disk_works, write = 1000.0, True, workers.write_worker

    def write_if_it_works(root: Path, worker: Worker) -> None:
        if not disk_works:
            raise OSError
        write(root, worker)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(presence, "_now", lambda: now)
        patch.setattr(presence, "write_worker", write_if_it_works)
        patch.setattr(workers.time, "monotonic", lambda: now)
        root = Path(folder) / "corpus"
        increment = make_corpus(root).increment("one")
        hop_plan.folder(increment).mkdir(parents=True)
        hop_plan.plan_path(increment, PLAN.hop).write_bytes(dump(PLAN))
        crawlers = [Crawler(increment, root, f"node{number}") for number in range(3)]
        holder = dict[str, Crawler]()
        for move, which in moves:
            if move == "wait":
                now += which
                continue
            crawler = crawlers[int(which)]
            if move == "leave":
                crawler.turns.release()
            elif move.endswith("beat"):
                disk_works = move == "beat"
                with suppress(OSError):
                    crawler.presence.show(crawler.turns.open)
                disk_works = True
            for partition in crawler.asked():
                assert holder[partition] is crawler
            if move == "claim" and (claimed := crawler.turns.claim(lane=0, done=())):
                holder[claimed.name] = crawler
