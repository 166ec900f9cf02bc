"""The files of an evaluation: complete, in lm-eval's layout, the same bytes for the same documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.errors import RunError
from pipeline.eval.intervals import wilson
from pipeline.eval.scores import Outcome
from pipeline.eval.table import table
from pipeline.monitor.evaluations import first_samples, of_run, read_results, read_samples
from support.evaluations import documents, lambada, outcome, task, write


def test_results_have_lm_eval_s_layout(tmp_path: Path) -> None:
    from lm_eval import result_schema
    from lm_eval.utils import make_table

    write(tmp_path, [outcome(), outcome(shots=1)])
    read: dict[str, Any] = json.loads((tmp_path / "results.json").read_text())
    known = set(result_schema.EvalResults.__annotations__)
    assert known & read.keys() >= {
        *("results", "configs", "versions", "n-shot", "n-samples", "higher_is_better", "config"),
    }
    for part in ("results", "configs", "versions", "n-shot", "n-samples", "higher_is_better"):
        assert read[part].keys() == {"hellaswag/0/paper", "hellaswag/1/paper"}, part
    assert result_schema._EvalConfig.__annotations__.keys() >= read["config"].keys()
    row = read["results"]["hellaswag/0/paper"]
    expected = wilson(30, 40)
    assert row["acc,none"] == 0.75
    assert row["acc_stderr,none"] == pytest.approx(expected.stderr, rel=1e-5)
    assert row["sample_len"] == 40
    assert read["n-samples"]["hellaswag/0/paper"] == {"original": 10042, "effective": 40}
    shown = make_table(read)
    assert "|hellaswag/1/paper|0.1.0  |none  |     1|acc   |↑  | 0.75|±  |0.0693|" in shown.splitlines()


def test_each_measure_has_its_interval_and_its_caveats(tmp_path: Path) -> None:
    write(tmp_path, [outcome(boundary_merges=3, truncated=2)])
    read = read_results(tmp_path)
    (acc,) = (score for score in read.scores if score.main)
    assert (acc.value, acc.n, acc.units, acc.measure) == (0.75, 40, 40, "acc")
    assert acc.low == pytest.approx(wilson(30, 40).low, rel=1e-5)
    assert acc.high == pytest.approx(wilson(30, 40).high, rel=1e-5)
    caveats = read.caveats["hellaswag/0/paper"]
    assert (caveats.boundary_merges, caveats.truncated, caveats.ties) == (3, 2, 0.25)
    assert [score.measure for score in read.scores] == ["acc"], "the protocol's measures"


def test_the_same_documents_give_the_same_bytes_in_any_order_of_tasks(tmp_path: Path) -> None:
    write(tmp_path / "a", [lambada(), outcome()])
    write(tmp_path / "b", [outcome(), lambada()])
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == [
        "results.json",
        "samples/hellaswag.jsonl.zst",
        "samples/lambada.jsonl.zst",
    ]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_document_is_a_sample_with_its_line_and_its_numbers(tmp_path: Path) -> None:
    write(tmp_path, [outcome(shots=15), outcome(shots=2)])
    rows = list(read_samples(tmp_path / "samples" / "hellaswag.jsonl.zst"))
    assert [(row["shots"], row["doc_id"]) for row in rows] == [(k, n) for k in (2, 15) for n in range(40)]
    assert rows[1]["sample"] == {"prompt": "Question <1>", "answer": "a", "gold": "b"}
    assert {row["file"] for row in rows} == {"hellaswag_val.jsonl"}
    assert [row["line"] for row in rows[:3]] == [1, 2, 3]
    assert sum(row["values"]["acc"][0] for row in rows[:40]) == 30
    assert len(first_samples(tmp_path, "hellaswag", 5)) == 5
    assert first_samples(tmp_path, "absent", 5) == []


def test_a_measure_without_documents_has_no_value_and_infinity_is_none(tmp_path: Path) -> None:
    empty = Outcome(task=task("hellaswag"), protocol="paper", shots=0, documents=[], examples=0)
    endless = lambada(documents=documents(3, {"perplexity": lambda n: [1e6, 1.0]}, file="lambada.jsonl"))
    write(tmp_path, [empty, endless])
    read = read_results(tmp_path)
    assert [(score.task, score.value, score.n) for score in read.scores if score.main] == [
        ("hellaswag", None, 0),
        ("lambada", None, 3),
    ]


def test_two_outcomes_of_one_task_and_shots_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two outcomes"):
        write(tmp_path, [outcome(), outcome()])


def test_the_terminal_shows_values_as_papers_print_them(tmp_path: Path) -> None:
    shown = table(write(tmp_path, [outcome(), lambada()]))
    console = Console(width=160, record=True)
    console.print(shown)
    text = console.export_text()
    assert "books, step 300" in text
    assert "75.00" in text
    assert "33.70* (GPT-3 125M)" in text, "the size that is nearest, marked because it is unchecked"
    assert "*: this published value is from memory or from another's copy" in text


def test_evaluations_of_a_run_are_found_in_the_order_of_steps(tmp_path: Path) -> None:
    write(tmp_path / "evaluations" / "step-00000300" / "all", [outcome()], step=300)
    write(tmp_path / "evaluations" / "step-00000040", [outcome()], step=40)
    assert [each.results.model.step for each in of_run(tmp_path)] == [40, 300]


@pytest.mark.parametrize("content", [b"", b"\xff", b'{"results": {}}', b'{"model": 1'])
def test_damaged_results_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(RunError, match=r"results\.json: are no results of `outbound eval`"):
        read_results(tmp_path)
    with pytest.raises(RunError, match=r"absent: cannot be read"):
        read_results(tmp_path / "absent")
