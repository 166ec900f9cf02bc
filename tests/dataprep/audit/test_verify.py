"""`verify` names what is wrong: bytes, rows, and counts between stages."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprep.audit.trace import of_document
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.ingest import extend, summary
from dataprep.selection.exclude import build_of
from dataprep.store.files import Output, hash_file, replace
from dataprep.store.npy import loaded
from dataprep.store.records import Record, load_record, recommit
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
    return list(problems(corpus, lambda _: None))


def cut_table(corpus: Corpus, path: Path, count: bool) -> None:
    """Take the last row out of a record's table, as a stage that loses a row would; `count` says so, too."""
    record = load_record(path)
    table = corpus.root / record.outputs[0].path
    pq.write_table(pq.read_table(table).slice(0, record.outputs[0].rows - 1), table)
    rows = record.outputs[0].rows - count
    output = Output(record.outputs[0].path, table.stat().st_size, hash_file(table), rows)
    outputs = [output, *record.outputs[1:]]
    recommit(path, Record(**{**vars(record), "outputs": outputs}))


def test_a_sound_corpus_has_no_problem(corpus: Corpus) -> None:
    assert wrong(corpus) == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("increments/0002-two/documents/part-00001.json", "2 rows, 3 were recorded"),
        ("increments/0001-one/scores/part-00000.json", "2 rows, 3 were recorded"),
    ],
)
def test_a_row_that_is_missing_is_named(corpus: Corpus, pattern: str, message: str) -> None:
    cut_table(corpus, corpus.root / pattern, count=False)
    assert [message in line for line in wrong(corpus)] == [True]


def lose_scores(corpus: Corpus) -> None:
    path = corpus.root / "increments/0001-one/scores/part-00000.json"
    record = load_record(path)
    cut_table(corpus, path, count=True)
    changed = load_record(path)
    shrunk = Record(**{**vars(changed), "entered": record.entered - 1, "passed": record.passed - 1})
    recommit(path, shrunk)


def lose_a_tar(corpus: Corpus) -> None:
    path = next(build_of(corpus).path.glob("text/0002-*.json"))
    recommit(path, Record(**{**vars(load_record(path)), "outputs": []}))


def lie_about_verdicts(corpus: Corpus) -> None:
    path = build_of(corpus).path / "verdicts" / "0001.json"
    record = load_record(path)
    reasons = {"language": 1}
    recommit(path, Record(**{**vars(record), "passed": 5, "reasons": reasons}))


def lose_a_fetch(corpus: Corpus) -> None:
    """The last, of a link without a page."""
    path = corpus.root / "increments/0001-one/fetches/part-00000.json"
    cut_table(corpus, path, count=True)
    record = load_record(path)
    recommit(path, Record(**{**vars(record), "entered": record.entered - 1, "reasons": {}}))
    close_again(corpus)


def lose_a_link(corpus: Corpus) -> None:
    path = corpus.root / "increments/0001-one/links/part-00000.json"
    cut_table(corpus, path, count=True)
    record = load_record(path)
    recommit(path, Record(**{**vars(record), "entered": record.entered - 1, "passed": record.passed - 1}))


def count_a_page_too_many(corpus: Corpus) -> None:
    """A partition of documents that tells of one page more than was fetched for it."""
    path = corpus.root / "increments/0002-two/documents/part-00000.json"
    record = load_record(path)
    recommit(path, Record(**{**vars(record), "entered": 4, "reasons": {"no_text": 1}}))
    close_again(corpus)


def close_again(corpus: Corpus) -> None:
    """Let the summaries of the increments say what their records do."""
    for increment in corpus.increments():
        replace(increment.summary_path, summary(corpus, increment))


def write_what_was_dropped(corpus: Corpus) -> None:
    """A verdict that was changed after the text was written."""
    path = build_of(corpus).path / "verdicts" / "0001.json"
    record = load_record(path)
    table = pq.read_table(corpus.root / record.outputs[0].path)
    verdicts = ["near_duplicate", *table["verdict"].to_pylist()[1:]]
    changed = table.set_column(table.column_names.index("verdict"), "verdict", [verdicts])
    pq.write_table(changed, corpus.root / record.outputs[0].path)
    file = corpus.root / record.outputs[0].path
    output = Output(record.outputs[0].path, file.stat().st_size, hash_file(file), record.outputs[0].rows)
    counts = {"passed": 5, "reasons": {"near_duplicate": 1}, "outputs": [output, *record.outputs[1:]]}
    recommit(path, Record(**{**vars(record), **counts}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_a_fetch, "increments/0001-one/fetches: 1 links were never fetched"),
        (lose_a_link, "increments/0001-one/fetches: 1 fetches are of no link"),
        (count_a_page_too_many, "increments/0002-two/documents: 7 pages entered, but 6 were fetched"),
        (write_what_was_dropped, "1 documents are in tars that were not kept"),
        (lose_scores, "increments/0001-one/scores/part-00000: 2 documents entered, but 3 were extracted"),
        (lose_a_tar, "6 kept documents are in no tar"),
        (lie_about_verdicts, "verdicts/0001: holds {'kept': 6}, but the record says"),
    ],
)
def test_a_count_that_does_not_add_up_between_stages_is_named(
    corpus: Corpus, harm: Callable[[Corpus], None], message: str
) -> None:
    harm(corpus)
    found = wrong(corpus)
    assert len(found) == 1
    assert message in found[0]


def test_a_document_without_a_verdict_is_named(corpus: Corpus) -> None:
    path = build_of(corpus).path / "verdicts" / "0001.json"
    cut_table(corpus, path, count=True)
    recommit(path, Record(**{**vars(load_record(path)), "entered": 5, "passed": 5}))
    verdicts, tars = wrong(corpus)
    assert "verdicts/0001: 5 verdicts of 6 documents" in verdicts
    assert "1 documents are in tars that were not kept" in tars


@pytest.mark.parametrize("damage", [b"{}", b"{", b"\xff", b"null"])
def test_a_damaged_summary_of_an_increment_is_named(corpus: Corpus, damage: bytes) -> None:
    replace(corpus.increments()[0].path / "increment.json", damage)
    assert [each.partition(":")[0] for each in wrong(corpus)] == [
        str(corpus.root / "increments/0001-one/increment.json")
    ]


def test_a_record_that_says_other_than_the_increments_summary_is_named(corpus: Corpus) -> None:
    path = next((corpus.increments()[0].path / "scores").glob("*.json"))
    recommit(path, Record(**{**vars(load_record(path)), "versions": {"minhash": "9"}}))
    assert wrong(corpus) == [
        "increments/0001-one/scores/part-00000.json: says other versions than "
        "increments/0001-one/increment.json"
    ]


@pytest.mark.parametrize("stage", ["documents", "scores"])
def test_an_increment_that_has_lost_a_record_is_not_judged_without_it(corpus: Corpus, stage: str) -> None:
    shutil.rmtree(corpus.root / "builds")
    lost = corpus.root / "increments" / "0002-two" / stage / "part-00001.json"
    lost.unlink()
    with pytest.raises(DataError, match=f"{lost}: is missing; restore it"):
        extend(corpus, 1, no_progress)


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


def test_tracing_in_a_damaged_table_is_a_clear_error(corpus: Corpus) -> None:
    for path in corpus.root.glob("increments/*/documents/*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        of_document(corpus, bytes(16))
