"""One evaluation from plan to results: its bytes, and what is asked again."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from dataprep.store.files import hash_file
from pipeline.eval import answer as answering
from pipeline.eval import steps
from support import cli
from support.kills import die_before, killed
from support.patience import patient
from support.toy_eval import models, outbound

OUTBOUND = ("-m", "support.toy_eval.outbound")

pytestmark = pytest.mark.slow(3)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and sets. Leave them as they are."""
    home = tmp_path_factory.mktemp("evaluated")
    models.write_run(home / "run")
    models.write_sets(home / "data")
    return home


@pytest.fixture(autouse=True)
def _toy_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Know the task of the tests, in this process too; and let nothing reach beyond this machine."""
    connect = socket.socket.connect

    def only_loopback(self: socket.socket, address: Any) -> None:
        assert isinstance(address, str | bytes) or address[0] in ("127.0.0.1", "::1", "localhost"), address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)
    with outbound.installed():
        yield


@pytest.fixture(scope="module")
def expected(home: Path) -> dict[str, str]:
    """What one process without any accident writes, by hashes."""
    with outbound.installed():
        ended = cli.run(*words(home, home / "expected"))
    assert ended.returncode == 0, ended.stderr
    return files_of(home / "expected")


def words(home: Path, out: Path, *more: object, run: Path | None = None, nproc: int = 1) -> list[object]:
    options = ["--data", home / "data", "--shots", "0,few", "--nproc", nproc, "--out", out, *more]
    return ["eval", run or home / "run", *options]


def files_of(out: Path) -> dict[str, str]:
    """The hashes of the results, by their paths in the evaluation's folder; there must be just one."""
    (results,) = out.glob("*/*/results.json")
    paths = [results, results.parent / "report.html", *sorted((results.parent / "samples").iterdir())]
    return {path.relative_to(results.parent).as_posix(): hash_file(path) for path in paths}


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of requests of each call of the model, from here on."""
    counts = list[int]()

    def counted(scope: Any, requests: Any, tick: Any) -> Any:
        counts.append(len(requests))
        return answering.answer(scope, requests, tick)

    monkeypatch.setattr(steps, "answer", counted)
    return counts


def test_the_scores_stand_in_the_run(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "run", tmp_path / "run")
    result = cli.result("eval", run, "--data", home / "data", "--limit", "3", "--nproc", "1")
    results = json.loads(Path(result["results"]).read_text())
    assert Path(result["report"]).is_file()
    assert Path(result["results"]).is_relative_to(run / "evaluations")
    assert results["model"]["step"] == 100
    assert results["model"]["tokens"] == 6400
    assert results["model"]["loss"] == 3.5
    (weights,) = (run / "attempts").rglob("*.safetensors")
    sizes = {name: tensor.numel() for name, tensor in load_file(weights).items()}
    blocks = sum(size for name, size in sizes.items() if not name.startswith(("weight/wte", "weight/wpe")))
    assert (results["model"]["parameters"], results["model"]["non_embedding"]) == (
        sum(sizes.values()),
        blocks,
    )
    assert results["model"]["no_context"] == "end of text"
    assert [*results["sets"]] == ["toy_val.jsonl"]
    assert [(score["measure"], score["n"]) for score in result["scores"]] == [("acc", 3), ("perplexity", 3)]
    assert [each["task"] for each in result["skipped"]] == ["absent"]
    left = {path.name for path in Path(result["results"]).parent.iterdir()}
    assert left == {
        *("results.json", "samples", "report.html"),
        *("answers", "answers.step.json", "results", "results.step.json"),
    }
    assert not (run / "evaluations" / "jobs").exists()


def test_an_exported_run_has_the_scores_of_the_run(
    home: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    cli.result("export", home / "run", "--out", tmp_path / "hf")
    assert cli.run(*words(home, tmp_path / "out", run=tmp_path / "hf")).returncode == 0
    assert files_of(tmp_path / "out")["samples/toy.jsonl.zst"] == expected["samples/toy.jsonl.zst"]


def test_a_run_that_is_not_there_is_no_reason_to_make_directories(home: Path, tmp_path: Path) -> None:
    for more in ([], ["--watch"]):
        ended = cli.run("eval", tmp_path / "run", "--data", home / "data", *more)
        assert (ended.returncode, str(tmp_path / "run") in ended.stderr) == (2, True)
        assert not (tmp_path / "run").exists()


@pytest.mark.slow(16)
@pytest.mark.parametrize("nproc", [2, 3])
def test_any_number_of_processes_writes_the_same_bytes(
    home: Path, tmp_path: Path, expected: dict[str, str], nproc: int
) -> None:
    cli.wait_for(cli.start(*words(home, tmp_path, nproc=nproc), python=OUTBOUND))
    assert files_of(tmp_path) == expected


@pytest.mark.slow(16)
def test_workers_share_an_evaluation(home: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    workers = [cli.start(*words(home, tmp_path, "--join"), python=OUTBOUND) for _ in range(2)]
    for worker in workers:
        cli.wait_for(worker)
    assert files_of(tmp_path) == expected
    assert not (tmp_path / "jobs").exists()


@pytest.mark.slow(5)
@pytest.mark.parametrize(
    ("call", "function"),
    [(2, "run_task"), (1, "answer"), (4, "answer"), (4, "run_task"), (1, "write_results")],
)
def test_a_kill_anywhere_costs_nothing(
    home: Path, tmp_path: Path, expected: dict[str, str], call: int, function: str
) -> None:
    def dying() -> None:
        die_before(call, steps, function)
        cli.run(*words(home, tmp_path))

    assert killed(dying)
    assert cli.run(*words(home, tmp_path)).returncode == 0
    assert files_of(tmp_path) == expected


def test_the_same_command_asks_nothing_again(
    home: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = asked(monkeypatch)
    assert cli.run(*words(home, home / "expected")).returncode == 0
    assert counts == []
    assert files_of(home / "expected") == expected


def test_results_that_were_removed_are_written_again_from_the_answers(
    home: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "expected", tmp_path / "out")
    (results,) = (tmp_path / "out").glob("*/*/results.json")
    results.unlink()
    counts = asked(monkeypatch)
    assert cli.run(*words(home, tmp_path / "out")).returncode == 0
    assert counts == []
    assert files_of(tmp_path / "out") == expected


@pytest.mark.parametrize("damaged", ["results.json", "samples/toy.jsonl.zst", "report.html"])
@pytest.mark.parametrize("gone", [True, False])
def test_results_that_were_damaged_are_written_again(
    home: Path, tmp_path: Path, expected: dict[str, str], damaged: str, gone: bool
) -> None:
    shutil.copytree(home / "expected", tmp_path / "out")
    (results,) = (tmp_path / "out").glob("*/*/results.json")
    path = results.parent / damaged
    path.unlink() if gone else path.write_bytes(path.read_bytes()[:-1])
    assert cli.run(*words(home, tmp_path / "out")).returncode == 0
    assert files_of(tmp_path / "out") == expected


@pytest.mark.parametrize("gone", [True, False])
def test_damaged_answers_of_an_earlier_evaluation_are_asked_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    counts = asked(monkeypatch)
    assert cli.run(*words(home, tmp_path, "--limit", "2")).returncode == 0
    for path in tmp_path.glob("*/*/answers/*.zst"):
        path.unlink() if gone else path.write_bytes(b"")
    first = sum(counts)
    assert cli.run(*words(home, tmp_path, "--limit", "2", "--seed", "1", "--shots", "0")).returncode == 0
    assert first < sum(counts) < 2 * first


def test_what_an_earlier_evaluation_has_answered_is_not_asked_again(
    home: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = asked(monkeypatch)
    assert cli.run(*words(home, tmp_path, "--limit", "5")).returncode == 0
    first = sum(counts)
    assert cli.run(*words(home, tmp_path)).returncode == 0
    once = sum(counts)
    shutil.rmtree(next(tmp_path.glob("*/*/results.json")).parent)
    assert first < once
    counts.clear()
    assert cli.run(*words(home, tmp_path / "fresh")).returncode == 0
    assert sum(counts) == once
    assert files_of(tmp_path / "fresh") == expected


@pytest.mark.parametrize("altered", ["weights", "tokenizer", "set", "dtype", "seed"])
def test_what_was_altered_is_not_answered_from_old_answers(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, altered: str
) -> None:
    shutil.copytree(home / "run", tmp_path / "run")
    shutil.copytree(home / "data", tmp_path / "data")
    assert cli.run(*words(tmp_path, tmp_path / "out")).returncode == 0
    counts, more = asked(monkeypatch), list[object]()
    if altered == "weights":
        shutil.rmtree(next((tmp_path / "run" / "attempts").glob("*/checkpoints/step-*")))
        models.write_run(tmp_path / "run", seed=1)
    elif altered == "tokenizer":
        shutil.rmtree(tmp_path / "run")
        models.write_run(tmp_path / "run", vocab_size=300)
    elif altered == "set":
        rows = (tmp_path / "data" / "toy_val.jsonl").read_text()
        (tmp_path / "data" / "toy_val.jsonl").write_text(rows.replace("cats", "story"))
    else:
        more = {"dtype": ["--dtype", "bf16"], "seed": ["--seed", "1"]}[altered]
    assert cli.run(*words(tmp_path, tmp_path / "out", *more)).returncode == 0
    assert sum(counts) > 0
    folders = [*(tmp_path / "out").glob("step-*")]
    assert len(folders) == (2 if altered in ("weights", "tokenizer", "dtype") else 1)
    assert len([*(tmp_path / "out").glob("*/*/results.json")]) == 2


def test_a_checkpoint_that_the_training_lets_go_of_is_evaluated_to_the_end(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, str]
) -> None:
    run = shutil.copytree(home / "run", tmp_path / "run")

    def retired(scope: Any, requests: Any, tick: Any) -> Any:
        shutil.rmtree(run / "attempts" / "0001" / "checkpoints", ignore_errors=True)
        return answering.answer(scope, requests, tick)

    monkeypatch.setattr(steps, "answer", retired)
    assert cli.run(*words(home, tmp_path / "out", run=run)).returncode == 0
    assert files_of(tmp_path / "out") == expected


def test_a_task_that_is_named_and_missing_fails_after_the_others_are_asked(
    home: Path, tmp_path: Path
) -> None:
    ended = cli.run(*words(home, tmp_path, "--tasks", "toy,absent", "--limit", "2"))
    assert ended.returncode == 1
    assert "missing: absent: absent.jsonl not found" in ended.stderr
    assert files_of(tmp_path)


def test_the_list_says_what_is_there_and_what_a_missing_file_is_called(home: Path) -> None:
    rows = {row["task"]: row for row in cli.result("eval", "--list", "--data", home / "data")["tasks"]}
    assert rows["toy"]["found"] == ["toy_val.jsonl", "toy_train.jsonl"]
    assert rows["absent"]["missing"] == ["absent.jsonl"]
    assert not rows["toy"]["proven"]


def test_examples_are_written_for_the_overlap_with_a_corpus(home: Path, tmp_path: Path) -> None:
    options = ["--data", home / "data", "--write-examples", tmp_path]
    assert cli.result("eval", *options)["examples"] == {"toy": 12}
    first = json.loads((tmp_path / "toy.jsonl").read_text().splitlines()[0])
    row = json.loads((home / "data" / "toy_val.jsonl").read_text().splitlines()[0])
    assert first == {"id": "toy_val.jsonl:1", "text": "\n".join([row["ctx"], *row["endings"]])}


def test_a_question_that_does_not_fit_is_named_with_its_task(home: Path, tmp_path: Path) -> None:
    models.write_run(tmp_path / "run")
    data = models.write_sets(tmp_path / "data", examples=1)
    row = {"ctx": "the links", "endings": ["cats " * 40] * 4, "label": 0}
    (data / "toy_val.jsonl").write_text(json.dumps(row))
    ended = cli.run(*words(tmp_path, tmp_path / "out"))
    assert ended.returncode == 1
    assert "toy/0/paper: the continuation" in ended.stderr
    assert "more than the 32" in ended.stderr


def test_nothing_in_the_directory_of_sets_is_executed(home: Path, tmp_path: Path) -> None:
    data = shutil.copytree(home / "data", tmp_path / "data")
    mark = tmp_path / "executed"
    code = f"open({str(mark)!r}, 'w')"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, (code,)

    for name in ("toy.py", "conftest.py", "sitecustomize.py"):
        (data / name).write_text(code)
    (data / "toy.yaml").write_text(
        f"name: !!python/object/apply:builtins.exec [{code!r}]\nx: !function toy.x\n"
    )
    (data / "toy.pkl").write_bytes(pickle.dumps(Bomb()))
    assert (
        cli.run("eval", home / "run", "--data", data, "--out", tmp_path / "out", "--nproc", 1).returncode == 0
    )
    assert not mark.exists()


def test_requests_are_planned_without_torch(home: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from support.toy_eval.outbound import installed\n"
        "from pipeline.cli.main import main\n"
        "from pipeline.eval import steps\n"
        "def answer(scope, requests, tick):\n"
        "    sys.exit('torch' if 'torch' in sys.modules else 'no torch')\n"
        "steps.answer = answer\n"
        "with installed():\n"
        "    main()\n"
    )
    process = cli.start(*words(home, tmp_path), python=("-c", code))
    _, errors = process.communicate(timeout=patient())
    assert errors.splitlines()[-1] == "no torch"


def test_a_model_whose_training_has_diverged_is_named(home: Path, tmp_path: Path) -> None:
    models.write_run(tmp_path / "run", scale=float("nan"))
    models.write_sets(tmp_path / "data", examples=1)
    ended = cli.run(*words(tmp_path, tmp_path / "out"))
    assert ended.returncode == 1
    assert "diverged" in ended.stderr
