"""Numbers that the pages give are those of the code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dataprep.corpus.recipe import Decontaminate, Extraction, Select
from dataprep.crawl.estimate import ANSWER_S
from dataprep.crawl.hop import MEASURED_FROM
from dataprep.crawl.partitioning import PART_LINKS
from dataprep.crawl.settings import WEB_PORTS, CrawlSettings
from dataprep.extract.sandbox import WALL_FACTOR
from pipeline.finetune.papers import published
from pipeline.finetune.settings import RECIPES
from pipeline.monitor.crawl_view import LINE_EVERY_S

REPOSITORY = Path(__file__).parents[1]
PAGE, CUT = Extraction(), Decontaminate(sets="evals")
CORPUS: list[tuple[str, Sequence[float]]] = [
    (r"`max_bytes` \(N MB decompressed\)", [PAGE.max_bytes >> 20]),
    (r"`max_elements` \(N\), `max_depth` \(N\)", [PAGE.max_elements, PAGE.max_depth]),
    (r"`cpu_seconds` \(N, and N times that on the clock\)", [PAGE.cpu_seconds, WALL_FACTOR]),
    (r"`memory_mb` \(N\)", [PAGE.memory_mb]),
    (r"`select.shard_mb` \(N\)", [Select().shard_mb]),
    (r"\(N(?:, N){7}\); others are a `refused_port`", sorted(WEB_PORTS)),
    (r"one line every N s", [LINE_EVERY_S]),
    (r"partitions of up to N links", [PART_LINKS]),
    (r"\(`--partitions`, N by default\)", [CrawlSettings().partitions]),
    (r"assumed as N.N s until N answers", [*divmod(10 * ANSWER_S, 10), MEASURED_FROM]),
    (
        r"ngram: N\s+window: N .*\n\s+min_piece: N\s+max_pieces: N\s+common: N",
        [CUT.ngram, CUT.window, CUT.min_piece, CUT.max_pieces, CUT.common],
    ),
]
"""Sentences of docs/corpus.md with an N for each number, and the numbers."""


@pytest.mark.parametrize(("sentence", "numbers"), CORPUS)
def test_a_number_in_the_page_on_corpora_is_that_of_the_code(sentence: str, numbers: Sequence[float]) -> None:
    text = re.sub(r"(?<=\d),(?=\d{3})", "", (REPOSITORY / "docs" / "corpus.md").read_text())
    found = re.search(sentence.replace("N", r"\d+"), text)
    assert found, "the sentence has changed: change it here as well"
    written = re.sub(r"`.*?`|#.*", "", found[0])
    assert [float(number) for number in re.findall(r"\d+", written)] == list(numbers)


def test_the_recipes_in_the_page_on_fine_tuning_are_those_of_the_code() -> None:
    text = (REPOSITORY / "docs" / "finetuning.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    for column, recipe in enumerate(RECIPES.values(), start=1):
        shown = {row[0]: [float(number) for number in re.findall(r"\d[\d.e-]*", row[column])] for row in rows}
        assert recipe.keys() <= shown.keys()
        assert shown == {name: np.atleast_1d(recipe.get(name, ())).tolist() for name in shown}


def test_the_paper_s_numbers_in_the_page_on_fine_tuning_are_those_of_its_table() -> None:
    text = (REPOSITORY / "docs" / "finetuning.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| (\w+) \| (.*) \|$", text, re.MULTILINE)
    configs = {path.stem for path in REPOSITORY.glob("configs/finetune/*.yaml")}
    assert {task for task, _, _ in rows} == configs - {"books"}, "which are texts without a task"
    for task, measure, cells in rows:
        known = [row for row in published(task) if row.measure == measure and row.variant != "LSTM"]
        wanted = {f"{row.value:.1f}{'' if row.checked else '*'}" for row in known}
        assert {cell.strip() for cell in cells.split("|")} - {""} == wanted
