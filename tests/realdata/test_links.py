"""The links of real submissions: both composed months, under both rules of karma, at once or one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Links, Recipe
from dataprep.errors import DataError
from dataprep.ingest import close
from dataprep.links.index import LinkIndex
from dataprep.store.file_damage import InputNotes
from dataprep.store.files import read_table
from support.ready_corpus import enter_links

pytestmark = pytest.mark.slow(10)

MONTHS = ("RS_web_2014a.zst", "RS_web_2014b.zst")


def make(root: Path, rule: str, partition_mb: float) -> Corpus:
    rules = Links.model_validate({"karma_rule": rule})
    return Corpus.create(root, Recipe(name="t", collect=Collect(links=rules, partition_mb=partition_mb)))


def ingest(corpus: Corpus, name: str, dumps: list[Path]) -> list[dict[str, Any]]:
    """The rows of an increment; every submission is in one count."""
    increment = corpus.increment(name)
    whole = enter_links(corpus, name, dumps)
    close(increment)
    for part in whole.parts:
        assert part.entered == part.passed + sum(part.reasons.values())
    assert [each for record in increment.records("links") for each in record.noted(InputNotes).damage] == []
    return read_table(corpus.root, whole.outputs("links")).to_pylist()


def index(corpus: Corpus, number: int) -> LinkIndex:
    found = corpus.index(corpus.increments()[number - 1])
    assert found
    return LinkIndex.load(corpus.root, found)


def urls(corpus: Corpus, number: int) -> npt.NDArray[np.void]:
    return index(corpus, number).urls_in(0, 1 << 64)


def submissions(corpus: Corpus, number: int) -> npt.NDArray[np.uint64]:
    return index(corpus, number).submissions_in(0, 1 << 64)


@pytest.mark.parametrize("rule", ["post", "sum"])
@pytest.mark.parametrize("partition_mb", [256, 0.2])
def test_two_months_one_by_one_enter_what_they_enter_at_once(
    data: Path, tmp_path: Path, rule: str, partition_mb: float
) -> None:
    dumps = [data / "reddit" / name for name in MONTHS]
    once, split = make(tmp_path / "once", rule, 256), make(tmp_path / "split", rule, partition_mb)
    whole = ingest(once, "both", dumps)
    first, second = (ingest(split, dump.stem, [dump]) for dump in dumps)
    assert len(first) > 800
    assert len(second) > 300

    def entry(row: dict[str, Any]) -> tuple[bytes, str, int]:
        return row["url_key"], row["url"], row["first_seen"]

    assert sorted(map(entry, first + second)) == sorted(map(entry, whole))
    assert (urls(split, 2)["karma"] == urls(once, 1)["karma"]).all()
    assert (submissions(split, 2) == submissions(once, 1)).all()


@pytest.mark.parametrize("rule", ["post", "sum"])
def test_what_was_under_the_bar_last_month_enters_when_it_reaches_it(
    data: Path, tmp_path: Path, rule: str
) -> None:
    corpus = make(tmp_path, rule, 256)
    ingest(corpus, "a", [data / "reddit" / MONTHS[0]])
    before = urls(corpus, 1)
    under = {tuple(row["key"].tolist()) for row in before if row["entered"] == 0}
    entered = {tuple(row["key"].tolist()) for row in before if row["entered"]}
    second = ingest(corpus, "b", [data / "reddit" / MONTHS[1]])
    keys = {
        (int.from_bytes(row["url_key"][:8], "big"), int.from_bytes(row["url_key"][8:], "big"))
        for row in second
    }
    assert keys & under
    assert not keys & entered


def test_a_dump_that_is_cut_gives_what_it_held(data: Path, tmp_path: Path) -> None:
    whole = (data / "reddit" / "RS_2013-08.zst").read_bytes()
    cut = tmp_path / "cut.zst"
    cut.write_bytes(whole[: len(whole) // 2])
    corpus = make(tmp_path / "corpus", "post", 256)
    with pytest.raises(DataError, match=r"cut at byte .* --allow-truncated"):
        enter_links(corpus, "cut", [cut])
    increment = corpus.increment("cut")
    enter_links(corpus, "cut", [cut], allow_truncated=True)
    (record,) = (each for each in increment.records("links") if each.entered)
    (damage,) = record.noted(InputNotes).damage
    assert 30_000 < record.entered < 71_040
    assert f"cut at byte {cut.stat().st_size:,}" in str(damage.stopped)
    assert record.entered == record.passed + sum(record.reasons.values())
