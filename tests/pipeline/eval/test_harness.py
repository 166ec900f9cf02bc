"""lm-eval by path: its prompts, metrics and shots, over rows that never left this machine."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.errors import DataError
from pipeline.errors import RunError, UsageError
from pipeline.eval import harness, lm_eval_files, lm_eval_metrics
from pipeline.eval.documents import Example
from pipeline.eval.measures import MEASURES
from support.evaluation import asked, examples, measured, of
from support.oracles import Oracle

pytestmark = pytest.mark.slow(8)

ARC = [
    {
        "question": f"What is {n} and {n}?",
        "choices": {"text": [str(2 * n), f"{n} and {n}", "nothing"], "label": ["A", "B", "C"]},
        "answerKey": "ABC"[n % 3],
    }
    for n in range(12)
]
"""Twelve questions, of which no two are equal."""

ROWS: dict[str, list[dict[str, Any]]] = {
    "arc/arc_easy.yaml": ARC,
    "winogrande/default.yaml": [
        {
            "sentence": f"Ann met Bo {n} times, and _ was glad.",
            "option1": "Ann",
            "option2": "Bo",
            "answer": str(1 + n % 2),
        }
        for n in range(6)
    ],
    "super_glue/cb/default.yaml": [
        {"premise": f"{n} cats sat.", "hypothesis": "Cats sat", "label": n % 3} for n in range(6)
    ],
    "lambada/lambada_openai.yaml": [{"text": f"the {n} words of a sentence end"} for n in range(6)],
    "wikitext/wikitext.yaml": [{"page": f" = Title {n} =\n Some words , here .\n"} for n in range(4)],
    "unscramble/reversed_words.yaml": [{"context": f"{n} cba =", "completion": " abc"} for n in range(6)],
    "webqs/webqs.yaml": [{"question": f"who is {n}?", "answers": ["Bo", f"Ann {n}"]} for n in range(6)],
    "triviaqa/default.yaml": [
        {"question": f"Who is {n}", "answer": {"aliases": ["bo", "Ann 1."]}} for n in range(6)
    ],
    "drop/default.yaml": [
        {
            "query_id": str(n),
            "passage": "Ann met Bo.",
            "question": f"Who was {n}?",
            "answer": {"number": "", "date": {"day": "", "month": "", "year": ""}, "spans": ["Ann", "Bo"]},
            "validated_answers": {
                "number": ["1"],
                "date": [{"day": "", "month": "", "year": ""}],
                "spans": [["Bo"]],
            },
        }
        for n in range(6)
    ],
    "arithmetic/arithmetic_1dc.yaml": [{"context": f"{n} + 1 =", "completion": " 2"} for n in range(6)],
    "translation/wmt14_en-fr.yaml": [
        {"translation": {"en": f"Ann has {n} cats", "fr": f"Ann 1 a {n} chats"}} for n in range(6)
    ],
    "nq_open/nq_open.yaml": [{"question": f"who is {n}?", "answer": [f"Ann {n}", "Bo"]} for n in range(6)],
}


def builds_itself(
    file: str, rows: list[dict[str, Any]], shots: int, seed: int
) -> tuple[list[tuple[Any, ...]], Any]:
    """The requests that lm-eval makes of a task in its own way, and its results for an oracle's answers."""
    import datasets
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(lm_eval_files.folder() / file)
    for key in ("dataset_path", "dataset_name", "training_split", "validation_split", "test_split"):
        config.pop(key, None)
    rows_ = datasets.Dataset.from_list(rows)
    splits = {"test_split": "test", "fewshot_split": "test"}
    task = ConfigurableTask(config={**config, "custom_dataset": lambda **_: {"test": rows_}, **splits})
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(seed)
    oracle = Oracle()
    result = evaluate(harness._lm(oracle), {"tasks": {"task": task}}, bootstrap_iters=0)
    return [request.args for request in task.instances], result["results"]["task"]


WITHOUT_SHOTS = {"wikitext/wikitext.yaml", "webqs/webqs.yaml"}


@pytest.mark.slow(10)
@pytest.mark.parametrize(
    ("file", "shots"),
    [(file, shots) for file in ROWS for shots in (0, 2) if not (shots and file in WITHOUT_SHOTS)],
)
def test_prompts_and_values_are_those_that_lm_eval_gets_by_itself(file: str, shots: int) -> None:
    oracle = Oracle()
    documents = harness.evaluate(asked(f"lm-eval:{file}", examples(ROWS[file]), shots=shots, seed=7), oracle)
    requests, results = builds_itself(file, ROWS[file], shots, 7)
    assert oracle.asked == [
        tuple(harness.writing(each) if isinstance(each, dict) else each for each in request)
        for request in requests
    ]
    compared = 0
    for key, value in results.items():
        metric, _, filter_ = key.partition(",")
        measure = "f1_macro" if key == "f1,none" and "cb" in file else metric
        if filter_ and isinstance(value, float) and measure in documents[0].values:
            assert math.isclose(measured(documents, measure), value, rel_tol=1e-12)
            compared += 1
    assert compared == len(lm_eval_files.load(file)["metric_list"]) - 2 * file.startswith("translation")


@pytest.mark.parametrize(
    "aggregation", ["f1", "matthews_corrcoef", "brier_score", "bits_per_byte", "perplexity"]
)
def test_sums_over_documents_give_lm_evals_aggregations(aggregation: str) -> None:
    from lm_eval.api import metrics, registry

    generator = np.random.default_rng(4)
    labels = [(int(gold), int(named)) for gold, named in generator.integers(0, 2, (20, 2))]
    items = {
        "brier_score": [
            (gold, [share, 1 - share]) for (gold, _), share in zip(labels, generator.random(20), strict=True)
        ],
        "bits_per_byte": [(-float(nats), 7) for nats in generator.random(20)],
        "perplexity": [-float(nats) for nats in generator.random(20)],
    }.get(aggregation, labels)
    assert metrics
    function = registry.get_aggregation(aggregation)
    found = [lm_eval_metrics.numbers(aggregation, function.__name__, item) for item in items]
    measure = found[0][0] if found[0] else ""
    sums = np.sum([each[1] for each in found if each], axis=0)
    assert float(MEASURES[measure].value(sums)) == pytest.approx(function(items), rel=1e-12)


@pytest.mark.parametrize(
    ("training", "pool"),
    [(False, "itself"), (True, "others"), ("same", "itself")],
    ids=["none", "other", "same"],
)
def test_no_question_is_among_its_own_shots(training: bool | str, pool: str) -> None:
    given = examples(ARC)
    others = examples([{**row, "question": f"Train: {row['question']}"} for row in ARC])
    shown_from = {False: [], True: others, "same": given}[training]
    documents = harness.evaluate(asked("lm-eval:arc/arc_easy.yaml", given, shown_from, shots=4), Oracle())
    for document in documents:
        *shown, question = document.sample["prompt"].split("\n\n")
        assert len(shown) == 4
        assert not any(each.startswith(question) for each in shown)
        assert all(("Train" in each) == (pool == "others") for each in shown)


def test_more_shots_than_examples_are_refused() -> None:
    with pytest.raises(RunError, match="--shots is 12, but the set has only 11 other examples"):
        harness.evaluate(asked("lm-eval:arc/arc_easy.yaml", examples(ARC), shots=12), Oracle())


def test_a_task_file_that_fixes_its_shots_gets_those_that_were_asked(tmp_path: Path) -> None:
    task = tmp_path / "fixed.yaml"
    task.write_text(FIXED)
    documents = harness.evaluate(asked(f"lm-eval:{task}", examples(ARC), shots=3), Oracle())
    assert {document.sample["prompt"].count("\n\n") for document in documents} == {3}


FIXED = """
task: fixed
dataset_path: nowhere/at_all
output_type: multiple_choice
test_split: test
num_fewshot: 0
doc_to_text: "{{question}}"
doc_to_choice: "{{choices.text}}"
doc_to_target: "{{choices.label.index(answerKey)}}"
metric_list: [{metric: acc}]
"""


def fixed_but(change: str) -> str:
    """FIXED with another value of one of its fields, or with one field more."""
    field = change.partition(":")[0]
    return "\n".join([*(line for line in FIXED.splitlines() if not line.startswith(f"{field}:")), change])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("include: task.yaml", "it includes itself"),
        ("task: [one, another]", "names no task"),
        ("metric_list: [{metric: acc, aggregation: median}]", "none of its metrics is a mean"),
        ("doc_to_text: [", "describes no task of lm-eval"),
    ],
)
def test_a_task_file_that_describes_no_task_is_refused(tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(fixed_but(change))
    with pytest.raises(UsageError, match=said):
        lm_eval_files.load_user_task(path, trust=False)


def test_a_task_file_that_samples_its_texts_is_refused() -> None:
    with pytest.raises(RunError, match="samples the texts"):
        harness.writing({"do_sample": True, "temperature": 0.7})
    assert not harness.writing({"do_sample": True, "temperature": 0.0}).top_k


def test_a_row_that_does_not_suit_the_task_file_is_named() -> None:
    with pytest.raises(DataError, match=r"a row does not suit lm-eval's arc/arc_easy\.yaml .*'choices'"):
        harness.evaluate(asked("lm-eval:arc/arc_easy.yaml", examples([{"question": "why?"}])), Oracle())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("process_docs: !function code.run", "!function runs Python"),
        ("process_docs: !!python/name:os.system", "python/name:os.system runs Python"),
        ("class: Anything", "class runs Python"),
        ("include: other.yaml", r"other\.yaml: !function runs Python"),
        ("metric_list: [{metric: acc, hf_evaluate: true}]", "would be downloaded as a program"),
        ("metric_list: [{metric: of_my_own}]", "would be downloaded as a program"),
        ("doc_to_text: '{{ question.__class__.__mro__ }}'", "unsafe"),
    ],
)
def test_nothing_of_a_strangers_task_file_is_executed(tmp_path: Path, change: str, said: str) -> None:
    (tmp_path / "task.yaml").write_text(fixed_but(change))
    (tmp_path / "other.yaml").write_text("process_docs: !function code.run")
    (tmp_path / "code.py").write_text(
        f"open({str(tmp_path / 'executed')!r}, 'w')\ndef run(docs): return docs\n"
    )
    with pytest.raises((UsageError, DataError), match=said):
        harness.evaluate(asked(f"lm-eval:{tmp_path / 'task.yaml'}", examples(ARC)), Oracle())
    assert not (tmp_path / "executed").exists()


def test_functions_of_a_trusted_task_file_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(FIXED.replace('"{{question}}"', "!function code.text"))
    (tmp_path / "code.py").write_text("def text(doc): return 'Q: ' + doc['question']\n")
    task = lm_eval_files.load_user_task(path, trust=True)
    assert (task.name, task.files["test"], task.protocols["lm-eval"].measures) == (
        "fixed",
        ["fixed.jsonl"],
        ["acc"],
    )
    documents = harness.evaluate(of(task, "lm-eval", examples(ARC)), Oracle())
    assert documents[0].sample["prompt"] == "Q: What is 0 and 0?"


def test_a_users_task_file_may_name_its_files(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(FIXED + "dataset_kwargs: {data_files: {test: mine.jsonl, train: [a.jsonl, b.jsonl]}}\n")
    task = lm_eval_files.load_user_task(path, trust=False)
    assert task.files == {"test": ["mine.jsonl"], "train": ["a.jsonl", "b.jsonl"]}


def test_any_task_that_lm_eval_ships_is_found_by_its_name() -> None:
    task = lm_eval_files.shipped_task("gsm8k")
    assert task.protocols["lm-eval"].engine == "lm-eval:gsm8k/gsm8k.yaml"
    assert task.protocols["lm-eval"].measures == ["exact_match", "exact_match,flexible-extract"]
    with pytest.raises(UsageError, match="no_such_task: neither outbound nor the installed lm-eval"):
        lm_eval_files.shipped_task("no_such_task")


@pytest.mark.slow(6)
def test_nothing_is_downloaded_or_cached(tmp_path: Path) -> None:
    program = """
import socket, sys
def refuse(*_): raise AssertionError("connects")
socket.socket.connect = socket.getaddrinfo = refuse
from pipeline.eval import harness
from support.evaluation import asked, examples
from support.oracles import Oracle
rows = [{"activity_label": "A", "ctx_a": "B", "ctx_b": "c", "endings": ["d", "e"], "label": "1"}] * 3
documents = harness.evaluate(asked("lm-eval:hellaswag/hellaswag.yaml", examples(rows)), Oracle())
assert len(documents) == 3 and "torch" not in sys.modules
"""
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "hf"),
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_templates_are_compiled_once_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    import jinja2

    compiled: list[str] = []
    own = jinja2.Environment.compile

    def noted(environment: jinja2.Environment, source: Any, *rest: Any, **more: Any) -> Any:
        compiled.append(source)
        return own(environment, source, *rest, **more)

    monkeypatch.setattr(jinja2.Environment, "compile", noted)
    harness.evaluate(asked("lm-eval:arc/arc_easy.yaml", examples(ARC)), Oracle())
    assert len(compiled) == len(set(compiled)) > 0


def test_example_and_document_stay_together_where_a_task_file_leaves_rows_out(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(FIXED + "process_docs: !function code.later\n")
    (tmp_path / "code.py").write_text(
        "def later(rows): return rows.filter(lambda row: '7' in row['question'])\n"
    )
    given: list[Example] = examples(ARC)
    documents = harness.evaluate(asked(f"lm-eval:{path}", given, settings={"trust": True}), Oracle())
    assert [document.example for document in documents] == [given[7]]
