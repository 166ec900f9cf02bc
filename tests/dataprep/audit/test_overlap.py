"""The overlap report: which examples of evaluation sets a corpus holds, with the N that each set asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dataprep import ingest
from dataprep.audit.overlap import n_of
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from pipeline.cli.main import app
from support.ready_corpus import add_pages, make_corpus, no_progress


def sentence(seed: int, words: int) -> str:
    return " ".join(f"w{number}" for number in np.random.default_rng(seed).integers(0, 10**9, words))


@pytest.mark.parametrize(
    ("lengths", "n"),
    [([2] * 100, 8), ([10] * 100, 10), ([40] * 100, 13), ([9] * 4 + [50] * 96, 13), ([9] * 6 + [50] * 94, 9)],
)
def test_n_is_the_5th_percentile_between_8_and_13(lengths: list[int], n: int) -> None:
    assert n_of(np.array(lengths)) == n


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Kept text that holds some examples, in three shards over two increments."""
    made = make_corpus(tmp_path / "corpus", shard_mb=0.004)
    held = {3: sentence(103, 20).upper(), 4: sentence(204, 9), 12: sentence(112, 20)}
    for name, numbers in (("one", range(8)), ("two", range(8, 16))):
        pages = [(n, f"u{n}", f"{sentence(n, 60)} {held.get(n, '')} {sentence(n + 50, 60)}") for n in numbers]
        add_pages(made, name, pages, parts=2)
    ingest.extend(made, 1, no_progress)
    return made


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Long examples as JSONL, of which two are held, and short ones as text, of which one is."""
    directory = tmp_path / "sets"
    directory.mkdir()
    rows = [{"id": f"q{n}", "question": sentence(100 + n, 20), "label": n} for n in range(20)]
    (directory / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [sentence(200 + n, 9) for n in range(20)] + ["too short"]
    (directory / "short.txt").write_text("\n".join(lines))
    return directory


def run(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["corpus", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


@pytest.mark.slow(2)
@pytest.mark.parametrize("workers", [1, 2])
def test_dirty_examples_are_counted_and_listed(corpus: Corpus, sets: Path, workers: int) -> None:
    result = run("overlap", corpus.root, "--sets", sets, "--workers", workers)
    assert result["sets"] == [
        {"set": "long.jsonl", "n": 13, "examples": 20, "dirty": 2, "clean": 18, "short": 0},
        {"set": "short.txt", "n": 9, "examples": 21, "dirty": 1, "clean": 20, "short": 1},
    ]
    listed = [json.loads(line) for line in (corpus.root / "overlap.jsonl").read_text().splitlines()]
    assert [(row["set"], row["line"], row["id"]) for row in listed] == [
        ("long.jsonl", 4, "q3"),
        ("long.jsonl", 13, "q12"),
        ("short.txt", 5, None),
    ]
    for row in listed:
        assert row["ngram"] in sentence(99 + row["line"], 20) + sentence(199 + row["line"], 9)
        assert run("trace", corpus.root, row["doc_id"])["url"] == f"u{row['line'] - 1}"


@pytest.mark.slow(7)
def test_what_was_cut_out_is_no_overlap(corpus: Corpus, sets: Path) -> None:
    run("select", corpus.root, f"decontaminate.sets={sets}", "decontaminate.min_piece=50")
    result = run("overlap", corpus.root, "--sets", sets)
    # nine words are no 13-gram, so decontamination does not see the short one
    assert [each["dirty"] for each in result["sets"]] == [0, 1]


@pytest.mark.slow(2)
def test_a_table_is_shown_to_people(corpus: Corpus, sets: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["corpus", "overlap", str(corpus.root), "--sets", str(sets), "-o", str(tmp_path / "dirty.jsonl")]
    )
    assert "long.jsonl  13        20         2        18         0    10.00" in result.output
    assert len((tmp_path / "dirty.jsonl").read_text().splitlines()) == 3


def test_no_sets_are_an_error(corpus: Corpus, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["corpus", "overlap", str(corpus.root), "--sets", str(tmp_path / "no")])
    assert isinstance(result.exception, DataError)
    assert "there is no such directory" in str(result.exception)
