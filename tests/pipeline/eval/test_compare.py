"""Two models on the same documents: what both find hard cancels out, and what differs is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.errors import RunError
from pipeline.eval.compare import compare, table
from pipeline.eval.scores import Outcome
from support.evaluations import SETS, lambada, outcome, right, write


def judged(of: Callable[[int], bool], count: int = 400) -> Outcome:
    return outcome(values={"acc": lambda n: [float(of(n)), 1.0]}, count=count)


def test_one_document_more_in_a_hundred_is_seen_though_the_intervals_overlap(tmp_path: Path) -> None:
    write(tmp_path / "a", [judged(lambda n: n % 4 > 0)])
    write(tmp_path / "b", [judged(lambda n: n % 4 > 0 and n % 40 != 1)])
    found = compare(tmp_path / "a", tmp_path / "b" / "results.json")
    (acc,) = found.differences
    assert (acc.a, acc.b, acc.n, acc.better) == (0.75, 0.725, 400, "a")
    assert acc.difference == pytest.approx(0.025)
    assert acc.low is not None
    assert acc.low > 0
    (back,) = compare(tmp_path / "b", tmp_path / "a").differences
    assert (back.low, back.high, back.better) == (-acc.high if acc.high else 0, -acc.low, "b")


def test_a_model_and_itself_are_the_same(tmp_path: Path) -> None:
    write(tmp_path, [outcome(), lambada()])
    found = compare(tmp_path, tmp_path)
    assert [(each.measure, each.difference, each.better) for each in found.differences] == [
        (name, 0.0, "") for name in ("acc", "perplexity", "acc_filtered")
    ]


def test_lower_is_better_for_a_perplexity_and_what_one_side_lacks_is_named(tmp_path: Path) -> None:
    better = [
        replace(
            document,
            values={"perplexity": [document.values["perplexity"][0] - 1, 1.0], "acc_filtered": right(n)},
        )
        for n, document in enumerate(lambada().documents)
    ]
    write(tmp_path / "a", [lambada(), outcome()])
    write(tmp_path / "b", [lambada(better)])
    found = compare(tmp_path / "a", tmp_path / "b")
    assert [(each.measure, each.better) for each in found.differences] == [
        ("perplexity", "b"),
        ("acc_filtered", ""),
    ]
    assert (found.only_a, found.only_b) == (["hellaswag/0/paper"], [])
    assert found.as_json()["differences"][0]["task"] == "lambada"
    console = Console(width=140, record=True)
    console.print(table(found))
    assert "only in a: hellaswag/0/paper" in console.export_text()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"outcomes": [outcome(shots=1)]}, "hellaswag/0/paper against hellaswag/1/paper"),
        ({"outcomes": [judged(lambda n: True)]}, "40 documents and .* 400, and only one of them has"),
        ({"sets": SETS | {"hellaswag_val.jsonl": "zz"}}, "hellaswag_val.jsonl is not the same file"),
    ],
)
def test_what_is_no_comparison_is_refused(tmp_path: Path, other: dict[str, object], message: str) -> None:
    write(tmp_path / "a", [outcome()])
    write(tmp_path / "b", **{"outcomes": [outcome()]} | other)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=message):
        compare(tmp_path / "a", tmp_path / "b")


def test_shots_of_another_draw_are_refused(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path / str(seed), [outcome(shots=1)], seed=seed)
    with pytest.raises(RunError, match="1 solved examples were drawn with --seed 0 in"):
        compare(tmp_path / "0", tmp_path / "1")


def test_a_missing_file_of_samples_is_named(tmp_path: Path) -> None:
    write(tmp_path, [outcome()])
    (tmp_path / "samples" / "hellaswag.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd cut")
    with pytest.raises(RunError, match=r"hellaswag\.jsonl\.zst: cannot be read"):
        compare(tmp_path, tmp_path)
