"""`verify` names what is wrong: bytes, rows, and counts between stages."""

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.audit import reconcile
from dataprep.audit.gc import VERIFY
from dataprep.audit.join import join
from dataprep.audit.trace import of_document
from dataprep.audit.verify import files, problems
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.ingest import extend
from dataprep.selection.exclude import build_of
from dataprep.store import pool
from dataprep.store.calls import here
from dataprep.store.files import Output, hash_file, replace
from dataprep.store.npy import loaded
from dataprep.store.presence import Presence
from dataprep.store.records import commit, load_record, load_step, recommit, step_path, sum_up
from dataprep.store.tars import append
from dataprep.store.workers import new_worker
from support.ready_corpus import add_pages, make_corpus, no_progress

PROSE = "the {0} ships of the northern fleet sailed at dawn with the {0} tide and the {0} winds " * 4


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    made = make_corpus(tmp_path)
    for name in ("one", "two"):
        pages = [(n, f"http://{name}.test/{n}", PROSE.format(f"{name}{n}")) for n in range(6)]
        add_pages(made, name, pages, parts=2, lost=["not_found"])
    extend(made, 1, no_progress)
    return made


def wrong(corpus: Corpus) -> list[str]:
    return list(problems(corpus))


def change(path: Path, **changes: Any) -> None:
    """Let a record and the file of its step say something else, as if the step had made them so."""
    whole_path = step_path(path.parent.parent, path.parent.name)
    whole = load_step(whole_path)
    changed = recommit(path, msgspec.structs.replace(load_record(path), **changes))
    parts = [changed if part.part == changed.part else part for part in whole.parts]
    replace(whole_path, sum_up(whole.step, whole.inputs, whole.versions, parts, whole.origin))


def rewritten(corpus: Corpus, output: Output, table: pa.Table, rows: int) -> Output:
    """Write another table in the place of one, and tell of so many rows."""
    path = corpus.root / output.path
    pq.write_table(table, path)
    return Output(path=output.path, bytes=path.stat().st_size, xxh3_128=hash_file(path), rows=rows)


def cut_table(corpus: Corpus, path: Path, count: bool) -> None:
    """Take the last row out of a record's table, as a step that loses a row would.

    count: the number of rows in the record is lowered, too.
    """
    outputs = load_record(path).outputs
    name, output = next((name, each) for name, each in outputs.items() if each.path.endswith(".parquet"))
    table = pq.read_table(corpus.root / output.path).slice(0, output.rows - 1)
    change(path, outputs=outputs | {name: rewritten(corpus, output, table, output.rows - count)})


def test_a_sound_corpus_has_no_problem(corpus: Corpus) -> None:
    assert wrong(corpus) == []


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("increments/0002-two/extract/part-00001.json", "2 rows, 3 were recorded"),
        ("increments/0001-one/score/part-00000.json", "2 rows, 3 were recorded"),
    ],
)
def test_a_row_that_is_missing_is_named(corpus: Corpus, pattern: str, message: str) -> None:
    cut_table(corpus, corpus.root / pattern, count=False)
    assert [message in line for line in wrong(corpus)] == [True]


def lose_scores(corpus: Corpus) -> None:
    path = corpus.root / "increments/0001-one/score/part-00000.json"
    record = load_record(path)
    cut_table(corpus, path, count=True)
    change(path, entered=record.entered - 1, passed=record.passed - 1)


def lose_a_tar(corpus: Corpus) -> None:
    change(next(build_of(corpus).path.glob("0002-two/shard/*.json")), outputs={})


def verdicts_of(corpus: Corpus) -> Path:
    """The record of the verdicts on the first increment."""
    return build_of(corpus).path / "0001-one" / "verdicts" / "00000.json"


def lie_about_verdicts(corpus: Corpus) -> None:
    change(verdicts_of(corpus), passed=5, reasons={"language": 1})


def lose_a_fetch(corpus: Corpus) -> None:
    """The last, of a link without a page."""
    path = corpus.root / "increments/0001-one/fetch/part-00000.json"
    cut_table(corpus, path, count=True)
    record = load_record(path)
    change(path, entered=record.entered - 1, reasons={})


def lose_a_link(corpus: Corpus) -> None:
    path = corpus.root / "increments/0001-one/links/part-00000.json"
    cut_table(corpus, path, count=True)
    record = load_record(path)
    change(path, entered=record.entered - 1, passed=record.passed - 1)


def count_a_page_too_many(corpus: Corpus) -> None:
    """A partition of documents that tells of one page more than was fetched for it."""
    path = corpus.root / "increments/0002-two/extract/part-00000.json"
    change(path, entered=4, reasons={"no_text": 1})


def write_what_was_dropped(corpus: Corpus) -> None:
    """A verdict that was changed after the text was written."""
    outputs = load_record(verdicts_of(corpus)).outputs
    output = outputs["verdicts"]
    table = pq.read_table(corpus.root / output.path)
    verdicts = ["near_duplicate", *table["verdict"].to_pylist()[1:]]
    changed = table.set_column(table.column_names.index("verdict"), "verdict", [verdicts])
    outputs = outputs | {"verdicts": rewritten(corpus, output, changed, output.rows)}
    change(verdicts_of(corpus), passed=5, reasons={"near_duplicate": 1}, outputs=outputs)


@pytest.mark.slow(10)
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_a_fetch, "increments/0001-one/fetch: 1 links were never fetched"),
        (lose_a_link, "increments/0001-one/fetch: 1 fetches are of no link"),
        (count_a_page_too_many, "increments/0002-two/extract: 7 pages entered, but 6 were fetched"),
        (write_what_was_dropped, "1 documents are in tars that were not kept"),
        (lose_scores, "increments/0001-one/score/part-00000: 2 documents entered, but 3 were extracted"),
        (lose_a_tar, "6 kept documents are in no tar"),
        (lie_about_verdicts, "0001-one/verdicts/00000: holds {'kept': 6}; its record counts"),
    ],
)
def test_a_count_that_does_not_add_up_between_stages_is_named(
    corpus: Corpus, harm: Callable[[Corpus], None], message: str
) -> None:
    harm(corpus)
    found = wrong(corpus)
    assert len(found) == 1
    assert message in found[0]


def write_another_sample(corpus: Corpus) -> None:
    """A sample in a tar that is neither a kept document nor in the index of the tar."""
    path = next(build_of(corpus).path.glob("0002-two/shard/*.json"))
    outputs = load_record(path).outputs
    tar = corpus.root / outputs["tar"].path
    with tarfile.open(tar, "a", format=tarfile.USTAR_FORMAT) as archive:
        append(archive, f"{bytes(16).hex()}.txt", b"")
    changed = {"path": outputs["tar"].path, "bytes": tar.stat().st_size, "xxh3_128": hash_file(tar)}
    change(path, outputs=outputs | {"tar": Output(**changed, rows=7)})


def damage_files(corpus: Corpus) -> None:
    """All that can be wrong with records and their files."""
    one, two = (corpus.root / "increments" / name for name in ("0001-one", "0002-two"))
    cut_table(corpus, two / "extract/part-00001.json", count=False)
    cut_table(corpus, one / "score/part-00000.json", count=False)
    change(two / "links/part-00000.json", entered=9)
    next(one.glob("fetch/*.parquet")).unlink()
    next(two.glob("fetch/*.parquet")).write_bytes(b"")
    (two / "score/part-00001.json").write_bytes(b"{}")
    (one / "extract/part-00001.json").unlink()
    (two / "import.json").write_bytes(b"[]")
    step_path(one, "links").write_bytes(b"{}")
    for tar in build_of(corpus).path.glob("*/shard/*.tar"):
        tar.write_bytes(tar.read_bytes()[:-1] + b"x")


HARMED_COUNTS = [
    ("increments/0001-one/fetch", "1 links were never fetched"),
    ("increments/0001-one/score/part-00000", "2 documents entered, but 3 were extracted"),
    ("increments/0002-two/extract", "7 pages entered, but 6 were fetched"),
    ("0001-one/shard", "1 documents are in tars that were not kept"),
    ("0002-two/shard", "1 documents are in tars that were not kept"),
]


@pytest.mark.slow(12)
@pytest.mark.parametrize(
    ("harms", "number", "expected"),
    [
        ([damage_files], 11, []),
        (
            [lose_a_fetch, lose_scores, count_a_page_too_many, write_what_was_dropped, write_another_sample],
            5,
            HARMED_COUNTS,
        ),
    ],
)
def test_the_report_is_the_same_with_any_number_of_workers_and_shared_with_others(
    corpus: Corpus,
    harms: list[Callable[[Corpus], None]],
    number: int,
    expected: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for harm in harms:
        harm(corpus)
    report = wrong(corpus)
    assert len(report) == number
    for line, (where, what) in zip(report, expected, strict=bool(expected)):
        assert f"{where}: {what}; " in line
    monkeypatch.setattr(pool, "BATCH_BYTES", 1)  # each part goes alone
    monkeypatch.setattr(reconcile, "RANGE_KEYS", 3)
    for workers in (1, 3):
        ticks: list[int] = []
        assert list(problems(corpus, here(workers, ticks.append))) == report
        assert sum(ticks) == files(corpus)
    monkeypatch.setattr(reconcile, "RANGE_KEYS", 30)
    worker = new_worker(VERIFY, 2)
    assert join(Presence(corpus.root, worker), [], None, no_progress).problems == report
    assert worker.made > number


def test_a_tar_counts_for_what_it_holds_whatever_its_index_names(corpus: Corpus) -> None:
    path = next(build_of(corpus).path.glob("0002-two/shard/*.json"))
    outputs = load_record(path).outputs
    index = corpus.root / outputs["index"].path
    np.save(index, np.load(index)[1:])
    changed = {"path": outputs["index"].path, "bytes": index.stat().st_size, "xxh3_128": hash_file(index)}
    change(path, outputs=outputs | {"index": Output(**changed, rows=5)})
    assert wrong(corpus) == []


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))), min_size=2, max_size=3))
def test_keys_are_compared_as_sets_are(sides: list[list[tuple[int, int]]]) -> None:
    held = reconcile.held_by([np.array(side, np.uint64).reshape(-1, 2) for side in sides])
    expected = [0] * len(held)
    for key in {key for side in sides for key in side}:
        expected[sum(1 << bit for bit, side in enumerate(sides) if key in side)] += 1
    assert held == expected


@pytest.mark.slow(1)
def test_a_document_without_a_verdict_is_named(corpus: Corpus) -> None:
    cut_table(corpus, verdicts_of(corpus), count=True)
    change(verdicts_of(corpus), entered=5, passed=5)
    verdicts, tars = wrong(corpus)
    assert "0001-one/verdicts: 5 verdicts of 6 documents" in verdicts
    assert "1 documents are in tars that were not kept" in tars


@pytest.mark.slow(2)
@pytest.mark.parametrize("damage", [b"{}", b"{", b"\xff", b"null"])
def test_a_damaged_summary_of_an_increment_is_named(corpus: Corpus, damage: bytes) -> None:
    replace(corpus.increments()[0].path / "increment.json", damage)
    assert [each.partition(":")[0] for each in wrong(corpus)] == [
        str(corpus.root / "increments/0001-one/increment.json")
    ]


@pytest.mark.slow(1)
def test_a_record_that_says_other_than_the_file_of_its_step_is_named(corpus: Corpus) -> None:
    path = next((corpus.increments()[0].path / "score").glob("*.json"))
    record = recommit(path, msgspec.structs.replace(load_record(path), versions={"minhash": "9"}))
    where = "increments/0001-one/score"
    remedy = "restore it from a copy"
    differs = f"has other versions than {where}.step.json"
    assert wrong(corpus) == [f"{where}/part-00000.json: {differs}; {remedy}"]
    path.unlink()
    assert wrong(corpus) == [f"{where}/part-00000.json: missing; restore it from a copy"]
    commit(path.with_name("part-00009.json"), msgspec.structs.replace(record, part="part-00009"))
    assert wrong(corpus) == [
        f"{where}/part-00000.json: missing; restore it from a copy",
        f"{where}/part-00009.json: {where}.step.json does not list it; {remedy}",
    ]


@pytest.mark.slow(2)
def test_a_step_file_that_is_not_the_one_of_the_increments_summary_is_named(corpus: Corpus) -> None:
    path = step_path(corpus.increments()[0].path, "score")
    whole = load_step(path)
    replace(path, sum_up(whole.step, whole.inputs, whole.versions, whole.parts, origin="0" * 32))
    where = "increments/0001-one"
    assert wrong(corpus) == [
        f"{where}/score.step.json: is not the one that {where}/increment.json names; restore it from a copy"
    ]
    path.unlink()
    assert wrong(corpus) == [f"{where}/score.step.json: missing; restore it from a copy"]


@pytest.mark.slow(1)
@pytest.mark.parametrize("step", ["extract", "score"])
def test_an_increment_that_has_lost_a_step_file_is_not_judged_without_it(corpus: Corpus, step: str) -> None:
    shutil.rmtree(corpus.root / "builds")
    step_path(corpus.increments()[1].path, step).unlink()
    with pytest.raises(DataError, match=f"{step}.step.json.* restore it from a copy"):
        extend(corpus, 1, no_progress)


TOPS = [
    "manifest.json",
    "recipe.yaml",
    "collect.json",
    "builds/current",
    "builds/*/0001-one/verdicts.step.json",
    "increments/0001-one/increment.json",
]
"""Files that no step file names."""


@pytest.mark.slow(4)
@pytest.mark.parametrize("pattern", TOPS)
def test_a_file_that_only_the_manifest_names_is_named_when_it_is_lost_or_altered(
    corpus: Corpus, pattern: str
) -> None:
    (path,) = corpus.root.glob(pattern)
    content = path.read_bytes()
    for at in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert any(path.name in line and ("restore" in line or "select" in line) for line in wrong(corpus))
    path.unlink()
    assert any(path.name in line and "restore" in line for line in wrong(corpus))
    path.write_bytes(content)
    assert wrong(corpus) == []


@pytest.mark.slow(1)
def test_an_edited_recipe_is_named_until_a_build_is_made_of_it(corpus: Corpus) -> None:
    recipe = corpus.recipe.model_copy(
        update={"select": corpus.recipe.select.model_copy(update={"min_words": 5})}
    )
    replace(corpus.root / "recipe.yaml", recipe.text().encode())
    (line,) = wrong(corpus)
    assert "recipe.yaml: its content has changed" in line
    assert "`outbound corpus select" in line
    extend(Corpus.open(corpus.root), 1, no_progress)
    assert wrong(corpus) == []


@pytest.mark.slow(1)
def test_damage_of_what_an_import_was_made_of_and_of_the_current_build_is_named(corpus: Corpus) -> None:
    (corpus.increments()[1].path / "import.json").write_bytes(b"[]")
    replace(corpus.root / "builds" / "current", b"no-such-build\n")
    first, second = wrong(corpus)
    assert "import.json: is damaged" in first
    assert "builds/current: names no build; `outbound corpus select" in second


def test_a_pickle_in_place_of_an_index_executes_nothing(corpus: Corpus, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "evil.npy"
    np.save(path, np.array([Evil()], object), allow_pickle=True)
    for mode in (None, "r"):
        with pytest.raises(DataError, match="cannot be read"):
            loaded(path, mode)
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow(1)
def test_tracing_in_a_damaged_table_is_a_clear_error(corpus: Corpus) -> None:
    for path in corpus.root.glob("increments/*/extract/*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        of_document(corpus, bytes(16))
