"""A file that outbound wrote as a fact says itself when it was altered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.ingest import extend
from dataprep.store.checksummed_json import dump, load
from support.ready_corpus import add_pages, make_corpus, no_progress


@dataclass(frozen=True)
class Fact:
    name: str
    counts: dict[str, int]


BODY = Fact("naïve", {"kept": 3, "dropped": 40})


def test_what_is_sealed_reads_back_and_is_one_json_object_that_anybody_can_check(tmp_path: Path) -> None:
    path = tmp_path / "fact.json"
    path.write_bytes(dump(BODY))
    assert load(path, Fact) == BODY
    seal, body = json.loads(path.read_text())["xxh3_128"], path.read_bytes().split(b"\n", 2)[2]
    assert xxhash.xxh3_128_hexdigest(body) == seal
    assert json.loads(path.read_text()) == {"xxh3_128": seal, **vars(BODY)}


@given(at=st.integers(0, len(dump(BODY)) - 1), byte=st.integers(0, 255))
def test_no_byte_of_it_can_change_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "altered.json"
    content = dump(BODY)
    path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
    if content[at] == byte:
        assert load(path, Fact) == BODY
    else:
        with pytest.raises(DataError, match=r"altered\.json: is damaged .*; restore it from a copy"):
            load(path, Fact)


def test_a_file_that_is_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fact.json"
    with pytest.raises(DataError, match=r"fact\.json: cannot be read .*; make it anew"):
        load(path, Fact, "make it anew")
    path.mkdir()
    with pytest.raises(DataError, match=r"fact\.json: cannot be read"):
        load(path, Fact)
    path.rmdir()
    path.write_bytes(dump({"name": 1}))
    with pytest.raises(DataError, match=r"fact\.json: is damaged"):
        load(path, Fact)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = make_corpus(tmp_path_factory.mktemp("dump"))
    for name in ("one", "two"):
        add_pages(
            made, name, [(n, f"{name}{n}", f"{name} has a page {n} with words of its own") for n in range(6)]
        )
    extend(made, 1, no_progress)
    return made


FACTS = [
    "increments/0001-one/*/*.json",
    "increments/0001-one/*.json",
    "builds/*/0001-one/*/*.json",
    "builds/*/0001-one/*.json",
    "collect.json",
]


@pytest.mark.slow(3)
@pytest.mark.parametrize("pattern", FACTS)
def test_a_number_that_was_altered_in_a_committed_file_is_found_by_verify(
    corpus: Corpus, pattern: str
) -> None:
    """Also where it fits all others: in a count and its sum, in the hash of an output."""
    assert list(problems(corpus)) == []
    paths = sorted(corpus.root.glob(pattern))
    assert paths
    for path in paths:
        content = path.read_bytes()
        digits = list(re.finditer(rb'": "?(\d)', content))
        for digit in digits[1:]:  # the first is the seal
            changed = b"%d" % ((int(digit[1]) + 1) % 10)
            path.write_bytes(content[: digit.start(1)] + changed + content[digit.end(1) :])
            try:
                found = list(problems(Corpus.open(corpus.root)))
            except DataError as error:
                found = [str(error)]
            assert any(str(path) in line and "its hash does not fit" in line for line in found)
        path.write_bytes(content)
