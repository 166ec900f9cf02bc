"""Clean and dirty documents: exactly those that the corpus holds, and together the whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep import ingest
from dataprep.errors import DataError
from pipeline.eval.documents import Document, Example
from pipeline.eval.measures import MEASURES
from pipeline.eval.overlapped import Masks, Overlap, masks, parts, read, with_short
from pipeline.eval.scores import scores
from pipeline.monitor.evaluations import read_results
from support import cli
from support.evaluations import documents, outcome, right, write
from support.ready_corpus import add_pages, make_corpus, no_progress


def sentence(seed: int, words: int) -> str:
    return " ".join(f"w{number}" for number in np.random.default_rng(seed).integers(0, 10**9, words))


@pytest.mark.slow(3)
def test_exactly_the_7_examples_that_a_corpus_holds_are_dirty(tmp_path: Path) -> None:
    held = {2, 3, 5, 7, 11, 13, 17}
    corpus = make_corpus(tmp_path / "corpus")
    add_pages(corpus, "one", [(n, f"u{n}", f"{sentence(n + 500, 60)} {sentence(n, 20)}") for n in held])
    ingest.extend(corpus, 1, no_progress)
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"question": sentence(n, 20 if n < 38 else 5)} for n in range(40)]
    (data / "hellaswag_val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cli.result("corpus", "overlap", corpus.root, "--sets", data, "--workers", 1)
    made = outcome()
    overlap = read(corpus.root / "overlap.jsonl", data, ["hellaswag"])
    overlap = with_short(overlap, data, made.documents)
    found = masks("hellaswag", made.documents, overlap)
    assert set(np.flatnonzero(found.dirty)) == held
    assert np.flatnonzero(found.short).tolist() == [38, 39]
    write(tmp_path / "results", [made], overlap)
    acc = next(score for score in read_results(tmp_path / "results").scores if score.main)
    assert acc.clean is not None
    assert acc.dirty is not None
    assert acc.short is not None
    assert acc.clean_less_all is not None
    assert (acc.clean.n, acc.dirty.n, acc.short.n) == (33, 7, 2)
    assert acc.dirty.value == 1.0, "every fourth is wrong, and none of the 7 is"
    assert acc.clean.value == pytest.approx(23 / 33)
    assert acc.clean_less_all.value == pytest.approx(23 / 33 - 30 / 40)
    assert acc.clean_less_all.low is not None
    assert acc.clean_less_all.high is not None
    assert acc.clean_less_all.low < 23 / 33 - 30 / 40 < acc.clean_less_all.high <= 0


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(1, 9), st.booleans()), min_size=2, max_size=30),
    st.sampled_from(["acc", "bits_per_byte"]),
)
def test_the_clean_and_the_dirty_part_recombine_to_the_whole(
    measured: list[tuple[float, int, bool]], name: str
) -> None:
    numbers = np.array([(nats, units) for nats, units, _ in measured], np.float64)
    dirty = np.array([each for *_, each in measured])
    found = parts_of_sums(name, numbers, dirty)
    whole = numbers[:, 0].sum() / numbers[:, 1].sum()
    weights = [numbers[~dirty, 1].sum(), numbers[dirty, 1].sum()]
    values = [found[side] if found[side] is not None else 0.0 for side in ("clean", "dirty")]
    assert np.dot(values, weights) / sum(weights) == pytest.approx(whole)


def parts_of_sums(name: str, numbers: np.ndarray, dirty: np.ndarray) -> dict[str, float | None]:
    units = ["one"] * len(numbers)  # so that nothing is drawn
    found = parts(MEASURES[name], numbers, units, Masks(dirty, np.zeros(len(numbers), bool)), seed=0)
    assert found["clean"].n + found["dirty"].n == len(numbers)
    return {side: part.value for side, part in found.items()}


def test_the_clean_ones_are_compared_with_all_of_them_and_only_where_they_have_the_measure() -> None:
    numbers = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    dirty = np.array([False, False, True, True])
    chosen = Masks(dirty, np.zeros(4, bool))
    found = parts(MEASURES["acc"], numbers, ["a", "b", "c", "d"], chosen, seed=0)["clean_less_all"]
    assert (found.value, found.n) == (0.25, 2)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low < found.value < found.high

    stories = documents(6, {"acc": lambda n: [float(n > 2), 1.0]}, unit=lambda n: "uabcdd"[n])
    stories[0].values.clear()  # type: ignore[attr-defined]
    overlap = Overlap(frozenset({("hellaswag_val.jsonl", n) for n in (1, 5, 6)}), frozenset())
    (score,) = scores(replace(outcome(), documents=stories), overlap, 1, 0)
    assert score.clean is not None
    assert score.dirty is not None
    assert (score.clean.value, score.clean.n, score.dirty.value, score.dirty.n) == (1 / 3, 3, 1.0, 2)
    assert (score.n, score.units) == (5, 4)


def test_an_example_without_a_line_is_known_by_the_id_of_its_written_example() -> None:
    stories = [
        Document(
            example=Example(file="coqa.json", line=0, key=f"s{n}", unit="s", row={}), values={"acc": right(n)}
        )
        for n in range(3)
    ]
    overlap = Overlap(frozenset({("coqa.jsonl", 2)}), frozenset({("coqa.jsonl", "s1")}))
    assert masks("coqa", stories, overlap).dirty.tolist() == [False, True, False]
    assert not masks("other", stories, overlap).dirty.any()


def test_a_corpus_that_holds_nothing_leaves_all_clean(tmp_path: Path) -> None:
    results = write(tmp_path, [outcome()], Overlap(frozenset(), frozenset()))
    acc = results.scores[0]
    assert acc.clean is not None
    assert acc.dirty is not None
    assert (acc.clean.value, acc.clean.n, acc.dirty.value, acc.dirty.n) == (0.75, 40, None, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"set": "other.jsonl", "line": 1, "id": null}\n',
            r"1: names the set 'other\.jsonl', which is not in",
        ),
        ('{"line": 1}\n', "1: is no row of `outbound corpus overlap`"),
        ("{\n", "1: is no row"),
        ('{"set": "quiz.jsonl", "line": 1e999, "id": null}\n', "1: is no row"),
        ("[" * 100_000, "1: is no row"),
        ('{"set": "\\ud800", "line": 1, "id": null}\n', r"1: names the set '\\ud800', which"),
        (f'{{"set": "{"a" * 300}", "line": 1, "id": null}}\n', "1: names the set 'aaa"),
    ],
)
def test_an_overlap_of_other_sets_or_a_damaged_one_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "overlap.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "overlap.jsonl", tmp_path, ["hellaswag"])


def test_an_id_may_hold_a_separator_of_lines(tmp_path: Path) -> None:
    (tmp_path / "quiz.jsonl").touch()
    (tmp_path / "overlap.jsonl").write_text('{"set": "quiz.jsonl", "line": 1, "id": "a\u2028b"}\n')
    assert read(tmp_path / "overlap.jsonl", tmp_path, []).ids == {("quiz.jsonl", "a\u2028b")}


def test_documents_that_share_a_unit_with_others_keep_it_in_each_part() -> None:
    made = documents(40, {"acc": right}, unit=lambda n: f"story {n // 4}")
    dirty = np.arange(40) < 8
    units = [document.example.unit for document in made]
    numbers = np.array([right(n) for n in range(40)])
    found = parts(MEASURES["acc"], numbers, units, Masks(dirty, dirty), seed=0)
    assert (found["dirty"].low, found["dirty"].high) == (0.75, 0.75), "two stories that are alike"
