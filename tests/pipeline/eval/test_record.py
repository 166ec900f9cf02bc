"""Requests as partitions, and answers by key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.errors import DataError
from dataprep.store.files import publish
from pipeline.eval import record
from pipeline.eval.record import Notes, Record
from pipeline.eval.requests import Answer, Request, Writing

TOKENS = st.lists(st.integers(0, 300), min_size=1, max_size=6).map(tuple)
REQUESTS = st.one_of(
    st.builds(Request, kind=st.just("score"), context=TOKENS, continuation=TOKENS),
    st.builds(Request, kind=st.just("likeliest"), context=TOKENS, likeliest=st.integers(1, 2)),
    st.builds(
        Request,
        kind=st.just("write"),
        context=TOKENS,
        writing=st.builds(Writing, max_tokens=st.integers(1, 2), stops=st.just((".",))),
    ),
)


@given(asked=st.lists(REQUESTS, max_size=30), size=st.integers(1, 40))
def test_partitions_hold_each_request_once_whatever_the_order(asked: list[Request], size: int) -> None:
    def partitions(requests: list[Request]) -> list[list[Request]]:
        notes = Notes()
        for request in requests:
            assert notes.ask(request) == Answer(key=request.key)
        return list(notes.partitions())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "PARTITION_TOKENS", size)
        found = partitions(asked)
        assert found == partitions(asked[::-1] + asked)
    assert sorted(each.key for part in found for each in part) == sorted({each.key for each in asked})
    for part in found:
        assert len({(each.kind, each.writing, each.likeliest) for each in part}) == 1
        tokens = [each.context + each.continuation for each in part]
        assert tokens == sorted(tokens)
        room = sum(map(len, tokens)) + sum(each.writing.max_tokens for each in part if each.writing)
        assert len(part) == 1 or room <= size


def test_what_is_known_is_not_asked_again() -> None:
    first, second = (Request(kind="score", context=(number,), continuation=(1,)) for number in (1, 2))
    notes = Notes()
    notes.ask(first), notes.ask(second)
    assert list(notes.partitions({first.key})) == [[second]]


def test_a_file_of_answers_that_was_altered_is_refused(tmp_path: Path) -> None:
    answers = [Answer(key="a", log_likelihood=-1.5), Answer(key="b", likeliest=((3, -0.25),))]
    record.write(tmp_path / "written", answers)
    output = publish(tmp_path, tmp_path / "written", "answers", record.SUFFIX)
    assert record.read(tmp_path, output, Answer) == answers
    with (tmp_path / output.path).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(DataError, match="altered"):
        record.read(tmp_path, output, Answer)


def test_a_request_without_an_answer_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}.*another version"):
        Record(tmp_path).ask(Request(kind="score", context=(1,), continuation=(2,)))
