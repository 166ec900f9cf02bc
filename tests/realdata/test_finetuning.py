"""The sets of GPT-1's evaluations that lie here are read whole, and what is in them is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.finetune.examples import read

SST2: dict[str, Any] = {"text": 0, "label": 1}
COLA: dict[str, Any] = {"text": 3, "label": 1}
STSB: dict[str, Any] = {"first": 0, "second": 1, "label": 2}
SNLI: dict[str, Any] = {"label": 0, "premise": 1, "hypothesis": 2}


@pytest.mark.parametrize(
    ("file", "kind", "columns", "counts"),
    [
        ("sst2/train.tsv", "classification", SST2, {"1": 3610, "0": 3310}),
        ("sst2/dev.tsv", "classification", SST2, {"1": 444, "0": 428}),
        ("sst2/test.tsv", "classification", SST2, {"0": 912, "1": 909}),
        ("cola/in_domain_train.tsv", "classification", COLA, {"1": 6023, "0": 2528}),
        ("cola/in_domain_dev.tsv", "classification", COLA, {"1": 365, "0": 162}),
        ("cola/out_of_domain_dev.tsv", "classification", COLA, {"1": 354, "0": 162}),
        ("snli/test1000.txt", "entailment", SNLI, {"entailment": 367, "neutral": 322, "contradiction": 311}),
    ],
)
def test_classes_are_counted(
    file: str, kind: str, columns: dict[str, Any], counts: dict[str, int], data: Path
) -> None:
    found = read(data / "finetune" / file, kind, columns)
    assert Counter(each.label for each in found) == counts
    assert [each.row for each in found] == list(range(1, len(found) + 1))


def test_the_quoted_lines_of_sts_b_are_pairs_like_the_others(data: Path) -> None:
    train, dev = (
        read(data / "finetune" / "stsb" / f"stsb-en-{part}.csv", "similarity", STSB, graded=True)
        for part in ("train", "dev")
    )
    assert (len(train), len(dev)) == (5749, 1500)
    assert {min(each.label for each in train), max(each.label for each in train)} == {0.0, 5.0}
    assert sum(any(set(text) & {",", '"'} for text in each.texts) for each in train) == 1374
