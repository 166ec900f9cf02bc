"""The papers' numbers: as printed, each from a named source, found by task, shots, protocol and size."""

from __future__ import annotations

import re

import pytest

from model import PRESETS
from pipeline.eval import tasks
from pipeline.eval.measures import MEASURES
from pipeline.eval.papers import PAPER, PAPERS, number, published, rows, without_embeddings
from pipeline.eval.table import is_share
from support.evaluations import task

SMALL, XL = (without_embeddings(PRESETS[name]) for name in ("gpt2-small", "gpt2-xl"))


def test_each_row_names_a_model_a_measure_and_its_source_and_stands_once() -> None:
    keys = [(row.model, row.task, row.protocol, row.shots, row.measure) for row in rows()]
    assert len(keys) == len(set(keys))
    for row in rows():
        assert row.model in PRESETS
        assert row.measure in MEASURES, row
        assert row.protocol in ("gpt2", "gpt3", "lm-eval")
        assert row.shots == "few" or row.shots.isdecimal()
        assert re.fullmatch(r"(\d{4}-\d\d-\d\d)?", row.checked)
        assert row.source
        assert number(row.value) > 0


def test_shares_are_printed_in_percent_and_nothing_else_is() -> None:
    for row in rows():
        assert row.value.endswith("%") == is_share(row.measure), row
        assert not row.value.endswith("%") or number(row.value) <= 1


def test_table_3_of_gpt_2_is_there_whole() -> None:
    table = {(row.size, row.task, row.measure): row.value for row in rows() if row.protocol == "gpt2"}
    assert len(table) == 4 * 10
    assert table["117M", "lambada", "acc_filtered"] == "45.99%"
    assert table["1542M", "wikitext103", "perplexity"] == "17.48"


def test_numbers_from_memory_are_marked_as_unchecked() -> None:
    for row in rows():
        assert bool(row.checked) == (
            row.protocol == "gpt2"
            or (row.model == "gpt3-175b" and "3.8" not in row.source and "3.9" not in row.source)
        ), row


def test_a_model_is_compared_with_the_nearest_size_of_each_paper() -> None:
    small = published(task("lambada"), "gpt2", 0, "acc_filtered", SMALL)
    assert [each.name for each in small] == ["GPT-2 117M", "GPT-2 345M", "GPT-2 762M", "GPT-2 1542M"]
    assert [each.name for each in small if each.nearest] == ["GPT-2 117M"]
    assert [
        each.name for each in published(task("lambada"), "gpt2", 0, "acc_filtered", XL) if each.nearest
    ] == ["GPT-2 1542M"]
    tiny = published(task("hellaswag"), "paper", 0, "acc", 1000)
    assert [(each.name, each.nearest) for each in tiny] == [("GPT-3 125M", True), ("GPT-3 175B", False)]


def test_near_is_a_ratio_of_sizes_and_each_paper_has_its_own() -> None:
    between = published(task("lambada"), "gpt2", 0, "acc_filtered", 170_000_000)
    sizes = {each.name: each.non_embedding for each in between}
    middle = int((sizes["GPT-2 117M"] * sizes["GPT-2 345M"]) ** 0.5)
    for size, name in ((middle - 10**7, "GPT-2 117M"), (middle + 10**7, "GPT-2 345M")):
        found = published(task("lambada"), "gpt2", 0, "acc_filtered", size)
        assert [each.name for each in found if each.nearest] == [name]


def test_a_protocol_is_compared_with_its_own_numbers_only() -> None:
    assert {each.protocol for each in published(task("lambada"), "gpt3", 0, "acc", SMALL)} == {"gpt3"}
    harness = published(task("hellaswag"), "lm-eval", 0, "acc", SMALL)
    assert [(each.protocol, each.value) for each in harness] == [("lm-eval", 0.2892)]


@pytest.mark.parametrize(("shots", "value"), [(0, 0.762), (1, 0.725), (15, 0.864), (3, None)])
def test_few_is_the_paper_s_number_of_shots(shots: int, value: float | None) -> None:
    found = [each.value for each in published(task("lambada"), "gpt3", shots, "acc", 10**12) if each.nearest]
    assert found == ([value] if value else [])


@pytest.mark.parametrize(("few", "shots", "value"), [(0, 0, 0.762), (1, 1, 0.725)])
def test_none_and_one_are_no_few(few: int, shots: int, value: float) -> None:
    other = task("lambada").model_copy(update={"few": few})
    assert [row.value for row in published(other, "gpt3", shots, "acc", 10**12) if row.nearest] == [value]


def test_each_number_is_of_a_task_a_protocol_and_a_measure_that_are_shipped() -> None:
    shipped = tasks.shipped()
    for row in rows():
        protocols = shipped[row.task].protocols
        names = {row.protocol} | ({PAPER} if row.protocol in PAPERS else set())
        assert row.measure in [
            each for name in names & protocols.keys() for each in protocols[name].measures
        ], row
