"""What a server lacks of a run: each step once, in its place, whatever happened to run and sending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitor.run_files import all_metrics, joined_metrics, joined_samples
from pipeline.monitor.wandb_history import (
    EVALUATED,
    SAMPLES_OF,
    UNDONE,
    Due,
    Evaluated,
    Known,
    Metrics,
    due,
    format_ranges,
    parse_ranges,
    summary_after,
)
from support.written_runs import WrittenRun


class Server:
    """A server's history, which may report less than it has."""

    def __init__(self) -> None:
        self.lines: dict[int, dict[str, Any]] = {}
        self.summary: dict[str, Any] = {}

    def known(self, stale_count: int = 0, stale_tail: int = 0) -> Known:
        tail = [self.lines[offset] for offset in sorted(self.lines)][: len(self.lines) - stale_tail][-1:]
        count = max(0, len(self.lines) - stale_count)
        return Known(count, tail[0] if tail else {}, self.summary)

    def take(self, found: Due, most: int = 1 << 30) -> None:
        """Take what was undone, and the first lines of what is due; the sender is killed after them."""
        listed = parse_ranges(self.summary.get(UNDONE, ""))
        kept = {EVALUATED: self.summary.get(EVALUATED, "")}
        self.summary = {UNDONE: format_ranges([*listed, *found.undone])} | kept
        again = list(found.again) if most > len(found.lines) else []
        for offset, line in [*enumerate(found.lines[:most], found.offset), *again]:
            self.lines[offset] = line
            taken = summary_after(line, self.summary, again=True)
            self.summary[EVALUATED] = taken.get(EVALUATED, "")


def state(run: WrittenRun, ended: bool = False, evaluated: Sequence[Evaluated] = ()) -> Metrics:
    return Metrics(all_metrics(run.dir), ended, joined_samples(run.dir), evaluated)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("steps"), st.integers(1, 4)),
        st.tuples(st.just("evaluation"), st.just(0)),
        st.tuples(st.just("spike"), st.integers(1, 5)),
        st.tuples(st.just("killed"), st.integers(0, 5)),
        st.tuples(st.just("sync"), st.integers(0, 6)),
        st.tuples(st.just("stale count"), st.integers(0, 6)),
        st.tuples(st.just("stale tail"), st.integers(0, 6)),
        st.tuples(st.just("empty"), st.just(0)),
        st.tuples(st.just("evaluated"), st.integers(0, 4)),
    ),
    max_size=25,
)


@pytest.mark.slow(1)
@given(events=EVENTS)
def test_each_step_comes_once_and_the_first_value_that_was_sent_stays(
    events: list[tuple[str, int]],
) -> None:
    with TemporaryDirectory() as home:
        run, server = WrittenRun(Path(home) / "run"), Server()
        sent: dict[int, float] = {}
        evaluated: list[Evaluated] = []
        for event, number in events:
            if event == "steps":
                run.steps(number)
            elif event == "evaluation" and run.step:
                run.evaluation()
            elif event == "spike":
                run.roll_back(max(0, run.step - number))
            elif event == "killed":
                run.attempt(max(0, run.step - number))
            elif event == "empty":
                server, sent = Server(), {}
            elif event == "evaluated":
                step = max(1, run.step - number)
                evaluated.append(Evaluated(f"e{len(evaluated)}", step, {"eval/a": float(len(evaluated))}))
            else:
                stale = (event == "stale count") * number, (event == "stale tail") * number
                found = due(state(run, evaluated=evaluated), server.known(*stale))
                server.take(found, number if event == "sync" else 1 << 30)
                for _, line in found.again:
                    sent.pop(line["step"], None)  # which is sent again with the values that stand
            for line in server.lines.values():
                assert sent.setdefault(line["step"], line["loss"]) == line["loss"], "the first value stays"
        run.steps(1)
        found = due(state(run, ended=True, evaluated=evaluated), server.known())
        server.take(found)
        sent |= {line["step"]: line["loss"] for _, line in found.again}
        assert sorted(server.lines) == list(range(len(server.lines)))
        history = [server.lines[offset] for offset in sorted(server.lines)]
        standing = {row["step"]: row["loss"] for row in joined_metrics(run.dir) if "loss" in row}
        last = max([*standing, *sent])
        assert [line["_step"] for line in history] == list(range(1, last + 1))
        assert {line["step"]: line["loss"] for line in history} == standing | sent
        undone = {step for step, loss in sent.items() if standing.get(step) != loss}
        assert undone <= set(parse_ranges(server.summary[UNDONE])), "each is listed"
        for each in evaluated:
            if each.step in standing:
                newest = [other.id for other in evaluated if other.step == each.step][-1]
                assert server.lines[each.step - 1]["eval/a"] == float(newest[1:])
                assert each.id in server.lines[each.step - 1][EVALUATED].split()
        assert not due(state(run, ended=True, evaluated=evaluated), server.known()).any


def test_a_step_is_due_with_its_evaluation_once_the_next_has_begun(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.steps(2)
    assert [line["step"] for line in due(state(run), Known()).lines] == [1]
    run.evaluation()
    assert [line["step"] for line in due(state(run), Known()).lines] == [1]
    run.steps(1)
    _, evaluated = due(state(run), Known()).lines
    assert evaluated == {
        "attempt": 1,
        "step": 2,
        "tokens": 128,
        "loss": 2.0,
        "val_loss": 3.0,
        "_step": 2,
        "_timestamp": 1002.0,
        "_runtime": 1.0,
    }
    assert [line["step"] for line in due(state(run, ended=True), Known()).lines] == [1, 2, 3]


def test_a_spike_before_the_sending_leaves_no_trace_and_one_after_it_is_listed_once(tmp_path: Path) -> None:
    run, server = WrittenRun(tmp_path / "run"), Server()
    run.steps(4)
    run.roll_back(2)
    run.steps(6)
    found = due(state(run), server.known())
    assert ([line["loss"] for line in found.lines], found.undone) == ([1, 2, 6, 7, 8, 9, 10], [])
    server.take(found)
    run.attempt(5)
    for _ in range(2):  # its first two steps bring nothing new
        run.steps(1)
        found = due(state(run), server.known())
        assert (found.lines, found.undone) == ([], [6, 7])
    server.summary = {UNDONE: format_ranges(found.undone)}
    assert due(state(run), server.known()).undone == []
    run.steps(2)
    found = due(state(run), server.known())
    assert ([line["loss"] for line in found.lines], found.offset, found.undone) == ([14], 7, [])


def test_undone_steps_are_found_where_the_server_gives_no_more_than_the_number_of_its_last(
    tmp_path: Path,
) -> None:
    run = WrittenRun(tmp_path / "run")
    run.steps(7)
    run.roll_back(4)
    run.steps(5)
    assert due(state(run), Known(last_line={"_step": 6})).undone == [5, 6]
    assert due(state(run), Known(line_count=6)).undone == [5, 6]
    behind = Known(line_count=6, last_line={"_step": 3, "step": 3, "loss": 3.0})
    assert due(state(run), behind).undone == [5, 6]
    assert due(state(run), Known(last_line={"_step": 8})).undone == [], "sent after the spike"


def test_an_old_copy_that_lives_on_undoes_nothing(tmp_path: Path) -> None:
    run, server = WrittenRun(tmp_path / "run"), Server()
    run.steps(4)
    first = run.current
    run.attempt(3)
    run.steps(3)
    server.take(due(state(run), server.known()))
    second, run.current = run.current, first
    run.steps(3)  # its steps 7 to 9
    run.current = second
    del run.taken_by[6:]
    run.steps(2)
    found = due(state(run), server.known())
    assert ([line["step"] for line in found.lines], found.offset, found.undone) == ([6, 7], 5, [])
    assert {line["attempt"] for line in found.lines} == {2}


def test_samples_come_with_their_step_or_with_the_first_that_is_still_to_be_sent(tmp_path: Path) -> None:
    run, server = WrittenRun(tmp_path / "run"), Server()
    run.steps(5)
    run.samples(2)
    found = due(state(run), server.known())
    assert [(line["step"], line[SAMPLES_OF]) for line in found.lines if "samples" in line] == [(2, 2)]
    server.take(found)
    server.summary = {SAMPLES_OF: 2}
    run.samples(4)  # late: step 4 has been sent
    run.steps(2)
    run.samples(7)
    found = due(state(run), server.known())
    assert [(line["step"], line[SAMPLES_OF]) for line in found.lines if "samples" in line] == [(5, 4)]
    assert [row["text"] for row in found.lines[0]["samples"]] == [" end 4"]


def test_a_line_that_is_sent_again_keeps_the_samples_of_its_step(tmp_path: Path) -> None:
    run, server = WrittenRun(tmp_path / "run"), Server()
    run.steps(5)
    run.samples(2)
    server.take(due(state(run), server.known()))
    found = due(state(run, evaluated=[Evaluated("a", 2, {"eval/a": 0.5})]), server.known())
    ((place, line),) = found.again
    assert (place, line["samples"], line["eval/a"]) == (1, server.lines[1]["samples"], 0.5)
