"""Results are computed from the predictions that lie there, and their page shows and escapes everything."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from statistics import stdev
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Origin
from pipeline.errors import RunError
from pipeline.finetune.examples import Example
from pipeline.finetune.page import write_report
from pipeline.finetune.predictions import as_numbers, path_of, read_predictions, write_predictions
from pipeline.finetune.results import Counts, Results, read_results, write_results
from pipeline.finetune.settings import Finetune

LABELS = ("bad\tone", "<b>good</b>")
GOLD = [0, 0, 1, 1, 1, 0, 1, 0]
GUESSES = {0: [0, 0, 1, 1, 1, 0, 0, 1], 7: [0, 0, 1, 1, 1, 0, 1, 1], 3: [1, 0, 1, 0, 1, 1, 1, 1]}


def settings(folder: Path, **given: Any) -> Finetune:
    columns = {"text": 0, "label": 1}
    fields: dict[str, Any] = {"metrics": ["accuracy", "f1"], "seeds": [*GUESSES], "kind": "classification"}
    return Finetune(**{"dir": folder, "train": "x.tsv", "columns": columns} | fields | given)


def examples(labels: list[Any], file: str = "dev.tsv") -> list[Example]:
    return [Example(("text",), label, Path(file), row) for row, label in enumerate(labels, start=1)]


def finish(folder: Path, seed: int, steps: int = 40) -> None:
    """The metrics of a seed that has ended."""
    folder.mkdir(parents=True)
    attempt = attempts.claim(folder, processes=1)
    attempt.begin(Origin(attempt=0, step=0))
    lines = [
        {"step": step, "tokens": 100 * step, "epoch": step / 10, "loss": seed + 1 / step, "lm_loss": 4.0}
        for step in range(1, steps + 1)
    ]
    lines += [{"step": steps, "tokens": 100 * steps, "val_loss": 0.5, "dev/accuracy": 0.75}]
    (attempt.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def classes(tmp_path: Path) -> Results:
    of = settings(tmp_path, task="sst2", init_from="runs/<gpt1>", lm_coef=0.0)
    for seed, guesses in GUESSES.items():
        finish(tmp_path / f"seed-{seed}", seed)
        dev = examples([LABELS[number] for number in GOLD])
        sure = np.eye(2)[guesses] * 0.8 + 0.1
        path = path_of(tmp_path / f"seed-{seed}", "dev")
        write_predictions(path, dev, [LABELS[number] for number in guesses], sure)
    return write_results(of, Counts.of([LABELS[n] for n in (1, 1, 0)], LABELS), LABELS)


def test_predictions_come_back_as_they_were_written(tmp_path: Path, classes: Results) -> None:
    path = path_of(tmp_path / "seed-0", "dev")
    gold, predicted = read_predictions(path)
    assert as_numbers(gold, LABELS).tolist() == GOLD
    assert as_numbers(predicted, LABELS).tolist() == GUESSES[0]
    assert path.read_text().splitlines()[:2] == [
        "file\trow\tgold\tpredicted\tprobability",
        'dev.tsv\t1\t"bad\tone"\t"bad\tone"\t0.900000',
    ]
    grades = [0.1 + 0.2, 1 / 3]
    write_predictions(path, examples([4.2, 0.0]), grades)
    assert as_numbers(read_predictions(path)[1], ()).tolist() == grades
    path.write_text(path.read_text() + "x\t1\n")
    with pytest.raises(
        RunError, match=r"predictions-dev.tsv: are no predictions .*; remove it, and run again"
    ):
        read_predictions(path)


def test_scores_are_those_of_the_predictions_with_mean_median_and_spread(classes: Results) -> None:
    import sklearn.metrics

    accuracy, f1 = classes.scores
    assert accuracy.seeds == {0: 0.75, 7: 0.875, 3: 0.5}
    assert f1.seeds[3] == pytest.approx(sklearn.metrics.f1_score(GOLD, GUESSES[3]))
    assert accuracy.mean == pytest.approx((0.75 + 0.875 + 0.5) / 3)
    assert (accuracy.median, accuracy.low, accuracy.high) == (0.75, 0.5, 0.875)
    assert accuracy.deviation == pytest.approx(stdev([0.75, 0.875, 0.5]))
    assert accuracy.middle_seed == 0


def test_the_majority_is_that_of_the_training_set(classes: Results) -> None:
    accuracy, f1 = classes.scores
    assert classes.counts["train"].classes == {LABELS[0]: 1, LABELS[1]: 2}
    assert accuracy.majority == 0.5
    assert f1.majority == pytest.approx(2 / 3), "all are said to be of class 1, half are"


def test_the_file_holds_the_results(tmp_path: Path, classes: Results) -> None:
    assert read_results(tmp_path) == classes
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(RunError, match=r"results.json: are no results of `outbound finetune`"):
        read_results(tmp_path)


def test_the_page_shows_scores_curves_confusion_and_the_paper(tmp_path: Path, classes: Results) -> None:
    page = write_report(tmp_path).read_text()
    sections = re.findall(r'<section aria-labelledby="h-([\w-]+)">', page)
    assert sections == "scores paper loss lm-loss val-loss dev-accuracy confusion made".split()
    assert '<th scope="row">standard deviation</th><td class="number">19.1</td>' in page
    assert '<th scope="row">most frequent class</th><td class="number">50.0</td>' in page
    assert re.search(r"<b>without the language model&#39;s loss</b></td><td>accuracy</td>.*92.0\*", page)
    confused = re.findall(r'color-mix\(in srgb, var\(--kept\) (\d+)%, transparent\)">(\d)<', page)
    assert confused == [("45", "3"), ("15", "1"), ("15", "1"), ("45", "3")]
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.S):
        assert "seed 7" in ElementTree.tostring(ElementTree.fromstring(svg), encoding="unicode")


def test_the_page_stands_alone_and_escapes_what_comes_from_outside(tmp_path: Path, classes: Results) -> None:
    page = write_report(tmp_path).read_text()
    assert not re.search(r"<(?:script|link|img|iframe|object)\b", page)
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|url\((?!#)""", page)
    assert "<b>good" not in page
    assert "runs/&lt;gpt1&gt;" in page


def test_grades_are_drawn_as_dots_and_have_no_majority(tmp_path: Path) -> None:
    of = settings(tmp_path, metrics=["pearson"], target="regression", seeds=[1])
    finish(tmp_path / "seed-1", 1)
    write_predictions(path_of(tmp_path / "seed-1", "dev"), examples([1.0, 2.0, 4.0]), [1.5, 2.0, 3.0])
    results = write_results(of, Counts.of([3.0], ()), ())
    (score,) = results.scores
    assert (score.majority, score.deviation) == (None, None)
    assert results.counts["dev"].examples == 3
    page = write_report(tmp_path).read_text()
    assert "Predicted grades of 3 examples over the given ones" in page
    assert "h-confusion" not in page


def test_without_a_dev_set_the_page_has_curves_alone(tmp_path: Path) -> None:
    of = settings(tmp_path, seeds=[1])
    finish(tmp_path / "seed-1", 1)
    assert write_results(of, Counts.of(LABELS, LABELS), LABELS).scores == ()
    assert "h-scores" not in write_report(tmp_path).read_text()


def test_a_seed_without_its_attempts_has_scores_and_no_curve(tmp_path: Path, classes: Results) -> None:
    shutil.rmtree(tmp_path / "seed-7" / "attempts")
    page = write_report(tmp_path).read_text()
    assert '<td class="number">87.5</td>' in page
    assert all("seed 7" not in svg for svg in re.findall(r"<svg.*?</svg>", page, flags=re.S))
