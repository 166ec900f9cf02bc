"""`outbound status`, `logs` and `cancel`: what people and programs are told of corpora, runs and jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataprep.corpus.directory import Corpus
from dataprep.pack.packing import Packing
from dataprep.tokenizer.train import train as train_tokenizer
from pipeline.cli import jobs
from pipeline.cli import status as status_command
from pipeline.cli.app import duration
from slurm.script import evaluator, packer, train, verifier, worker
from slurm.submissions import Submission
from support import open_work, packed_corpus
from support.cli import run
from support.open_work import PARTS
from support.slurm_commands import SlurmCommands
from support.submitted import status, submitted


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_work.begun(tmp_path_factory.mktemp("status") / "corpus").root


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCommands:
    return SlurmCommands(tmp_path / "commands", monkeypatch)


@pytest.fixture
def corpus(original: Path, tmp_path: Path, slurm: SlurmCommands) -> Corpus:
    return Corpus.open(shutil.copytree(original, tmp_path / "mine"))


def array(corpus: Corpus, workers: int = 4) -> Submission:
    return submitted(corpus.root, "corpus", worker(str(corpus.root), workers), "813")


def done(submission: Submission, *tasks: str) -> None:
    """Let these tasks have ended well."""
    for task in tasks:
        (submission.logs / f"{task}.code").write_text("0\n")


def test_a_corpus_at_work_is_told_in_a_few_lines(corpus: Corpus, slurm: SlurmCommands) -> None:
    done(array(corpus), "813_0", "813_3")
    slurm.queue("813_1|outbound-work-mine|RUNNING|None", "813_2|outbound-work-mine|PENDING|Priority")
    open_work.score(corpus, PARTS[0])
    open_work.worker(corpus, "a", PARTS[1], busy_s=5400, idle_s=1800)
    open_work.worker(corpus, "b", PARTS[2], silent_s=720)
    code, told, found = status(corpus.root)
    lines = told.splitlines()
    assert code == 0
    assert lines[0] == str(corpus.root)
    assert lines[1:3] == ["  0001-m0: in the current build", "  0002-b: links done, fetch done, extract done"]
    assert lines[3].startswith("  score of increments/0002-b: 1 of 3 parts, 17%, ")
    assert lines[4] == "  workers: 1 at work, 0 ended; idle 0.5 of 2.0 core-hours"
    assert lines[5] == "    b silent for 12 min, with score part-00002"
    assert lines[6:] == ["  job 813 outbound-work-mine (4 tasks): 1 running, 1 waiting (Priority), 2 done"]
    (seen,) = found["directories"]
    assert found["queue"] == "known"
    assert (seen["kind"], seen["steps"][0]["done"], len(seen["workers"])) == ("corpus", 1, 2)
    assert seen["jobs"][0]["waiting"] == {"Priority": 1}


def test_a_failure_is_named_with_node_reason_and_log_and_ends_with_1_once_given_up(
    corpus: Corpus, slurm: SlurmCommands
) -> None:
    submission = array(corpus)
    done(submission, "813_0", "813_1", "813_2", "813_3")
    log = submission.logs / "813_3.log"
    log.write_text("began\nTraceback\nMemoryError\n")
    claims = open_work.claims(corpus, open_work.worker(corpus, "node7", log=str(log)))
    claims.take(PARTS[0], 1)
    claims.fail(PARTS[0], 1, "killed", "by SIGKILL, perhaps for want of memory")
    slurm.queue()
    code, told, _ = status(corpus.root)
    assert code == 0
    expected = (
        "part-00000 failed once, to be tried again; last on node7: killed: by SIGKILL, perhaps for want"
    )
    assert expected in told
    for number in (2, 3):
        claims.take(PARTS[0], number)
        claims.fail(PARTS[0], number, "killed", "by SIGKILL")
    code, told, found = status(corpus.root)
    assert code == 1
    assert f"failed 3 times, given up; last on node7: killed: by SIGKILL; its log: {log}" in told
    assert found["directories"][0]["steps"][0]["failed"][0]["given_up"] is True
    ended = run("logs", corpus.root, "--failed", "--lines", 2)
    assert ended.stdout == (
        "==> score of increments/0002-b, part-00000, try 3, on node7: killed: by SIGKILL\n"
        f"{log} <==\nTraceback\nMemoryError\n"
    )


def test_a_task_that_failed_counts_until_others_have_made_all(corpus: Corpus, slurm: SlurmCommands) -> None:
    submission = array(corpus)
    logs = submission.logs
    done(submission, "813_1", "813_2", "813_3")
    (logs / "813_0.code").write_text("127\n")
    (logs / "813_0.log").write_text("module: command not found\n")
    code, told, _ = status(corpus.root)
    assert code == 1
    assert f"3 done, 1 failed; 813_0 with code 127, see {logs}" in told
    assert "command not found" in run("logs", corpus.root, "--failed").stdout
    finish(corpus)
    code, told, _ = status(corpus.root)
    assert code == 0
    assert "next: `outbound pack" in told


def test_a_task_that_was_lost_counts_as_failed_until_others_have_made_all(
    corpus: Corpus, slurm: SlurmCommands
) -> None:
    submission = array(corpus)
    done(submission, "813_1", "813_2", "813_3")
    (submission.logs / "813_0.log").write_text("slurmstepd: Detected 1 oom_kill event\n")
    code, told, found = status(corpus.root)
    assert code == 1
    assert "3 done, 1 left no exit code\n" in told
    assert found["directories"][0]["jobs"][0]["lost"] == ["813_0"]
    told = run("logs", corpus.root, "--failed").stdout
    assert told.startswith("==> job 813_0, left no exit code\n")
    assert "oom_kill" in told
    finish(corpus)
    assert status(corpus.root)[0] == 0


def test_a_worker_that_was_lost_counts_until_another_has_verified_all(
    corpus: Corpus, slurm: SlurmCommands
) -> None:
    submission = submitted(corpus.root, "verify", verifier(str(corpus.root), [], 2), "813")
    (submission.logs / "813_0.code").write_text("137\n")
    slurm.queue("813_1|outbound-verify-mine|RUNNING|None")
    assert status(corpus.root)[0] == 1
    done(submission, "813_1")
    slurm.queue()
    assert status(corpus.root)[0] == 0
    (submission.logs / "813_1.code").write_text("1\n")
    assert status(corpus.root)[0] == 1


def test_evaluations_are_listed_and_a_lost_worker_counts_until_another_has_ended_well(
    tmp_path: Path, slurm: SlurmCommands
) -> None:
    home = tmp_path / "evaluations"
    (home / "step-00000100-aa" / "cloze-bb").mkdir(parents=True)
    (home / "step-00000100-aa" / "cloze-bb" / "results.json").touch()
    submission = submitted(home, "eval", evaluator("run", [], 2), "813")
    (submission.logs / "813_0.code").write_text("137\n")
    slurm.queue("813_1|outbound-eval-run|RUNNING|None")
    code, shown, found = status(home)
    assert (code, found["directories"][0]["kind"]) == (1, "evaluations")
    assert "  evaluated: step-00000100-aa/cloze-bb\n" in shown
    done(submission, "813_1")
    slurm.queue()
    assert status(home)[0] == 0


def finish(corpus: Corpus) -> None:
    """Leave nothing to be done: what is not in the current build goes."""
    shutil.rmtree(corpus.root / "increments" / "0002-b")
    shutil.rmtree(corpus.root / "jobs")


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bpe")
    train_tokenizer(packed_corpus.TEXTS, 300, directory)
    return directory


@pytest.fixture(scope="module")
def packing(original: Path, bpe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token directory in which one part is to be made."""
    return open_work.pack_begun(
        Corpus.open(original), bpe, tmp_path_factory.mktemp("packing") / "tokens"
    ).tokens


@pytest.fixture
def tokens(packing: Path, tmp_path: Path, slurm: SlurmCommands) -> Path:
    return shutil.copytree(packing, tmp_path / "tokens")


def test_a_pack_at_work_is_told_in_a_few_lines(tokens: Path, slurm: SlurmCommands) -> None:
    submitted(tokens, "pack", packer("/mine", [], 3), "813")
    slurm.queue("813_1|outbound-pack-mine|RUNNING|None", "813_2|outbound-pack-mine|PENDING|Priority")
    worker = open_work.packer(tokens, "a", busy_s=5400, idle_s=1800)
    claims = open_work.pack_claims(tokens, worker)
    claims.take("0001-00000", 1)
    claims.fail("0001-00000", 1, "error", "no reason")
    code, told, found = status(tokens)
    place = Packing.load(tokens).places["pack"].relative_to(tokens)
    assert code == 1  # one task has left no exit code
    assert told.splitlines() == [
        str(tokens),
        "  nothing is packed yet",
        "  being packed: 0001",
        f"  tokenize of {place}: 0 of 1 parts, 0%",
        "    0001-00000 failed once, to be tried again; last on a: error: no reason",
        "  workers: 1 at work, 0 ended; idle 0.5 of 2.0 core-hours",
        "  job 813 outbound-pack-mine (3 tasks): 1 running, 1 waiting (Priority), 1 left no exit code",
    ]
    assert found["directories"][0]["kind"] == "token shards"
    assert found["directories"][0]["begun"] == ["0001"]


def test_a_part_of_a_pack_that_was_given_up_is_named_until_all_is_packed(
    tokens: Path, original: Path, bpe: Path
) -> None:
    submission = submitted(tokens, "pack", packer("/mine", [], 2), "813")
    (submission.logs / "813_0.code").write_text("1\n")
    (submission.logs / "813_1.code").write_text("1\n")
    claims = open_work.pack_claims(tokens, open_work.packer(tokens, "node7", ended="given up"))
    for number in (1, 2, 3):
        claims.take("0001-00000", number)
        claims.fail("0001-00000", number, "killed", "by SIGKILL")
    code, told, _ = status(tokens)
    assert code == 1
    assert "0001-00000 failed 3 times, given up; last on node7: killed: by SIGKILL" in told
    ended = run("logs", tokens, "--failed")
    assert "==> tokenize of runs/" in ended.stdout
    assert ", 0001-00000, try 3, on node7: killed: by SIGKILL <==" in ended.stdout
    assert "==> job 813_0, exit code 1\n" in ended.stdout
    packed_corpus.run(Corpus.open(original), bpe, tokens)
    assert status(tokens)[0] == 1  # perhaps they were to pack more
    done(submission, "813_1")
    code, told, found = status(tokens)
    assert code == 0
    assert "  generation 1: train " in told
    assert found["directories"][0]["steps"] == []


def test_a_pack_is_no_work_on_its_corpus(corpus: Corpus) -> None:
    open_work.worker(corpus, "a", stage="pack")
    assert status(corpus.root)[2]["directories"][0]["workers"] == []


def test_a_controller_that_is_down_is_named_and_files_are_told_all_the_same(
    corpus: Corpus, slurm: SlurmCommands
) -> None:
    array(corpus)
    refusal = "slurm_load_jobs error: Unable to contact slurm controller"
    (slurm.folder / "squeue").write_text(f"#!/bin/sh\necho {refusal} >&2; exit 1\n")
    code, told, found = status(corpus.root)
    assert code == 0
    assert "score of increments/0002-b: 0 of 3 parts" in told
    assert f"the queue is unknown: squeue: {refusal}" in told
    assert "4 unknown" in told
    assert refusal in found["queue"]


def test_no_argument_tells_all_that_was_submitted(
    corpus: Corpus, slurm: SlurmCommands, tmp_path: Path
) -> None:
    assert status()[1] == "nothing was submitted from this account\n"
    mine = array(corpus)
    submitted(tmp_path / "run", "train", train("gpt2.yaml", ["outbound", "train"]), "814")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "recipe.yaml").write_text("name: [\n")
    submitted(tmp_path / "broken", "select", worker("broken", 1), "815")
    done(mine, "813_0", "813_1", "813_2", "813_3")
    slurm.queue("814|outbound-train-gpt2|PENDING|Resources")
    code, told, found = status()
    assert code == 1
    assert [Path(seen["directory"]).name for seen in found["directories"]] == ["mine", "run", "broken"]
    assert "  has not begun\n  job 814 outbound-train-gpt2: 1 waiting (Resources)" in told
    assert "manifest.json" in found["directories"][2]["error"]


@pytest.mark.parametrize("place", ["logs/broken/submission.json", "logs/1-corpus/815_0.code"])
def test_a_directory_that_cannot_be_read_hides_no_other(
    corpus: Corpus, slurm: SlurmCommands, tmp_path: Path, place: str
) -> None:
    array(corpus)
    broken = tmp_path / "broken"
    submission = submitted(broken, "corpus", worker("broken", 1), "815")
    submission.logs.rename(broken / "logs/1-corpus")
    noted = broken / "logs/1-corpus/submission.json"
    noted.write_text(noted.read_text().replace(submission.logs.name, "1-corpus"))
    (broken / place).mkdir(parents=True)  # where a file is to be
    code, told, found = status()
    assert code == 1
    assert "score of increments/0002-b: 0 of 3 parts" in told
    assert [Path(seen["directory"]).name for seen in found["directories"]] == ["mine", "broken"]
    assert "is a directory, where a file is wanted" in found["directories"][1]["error"]


def test_a_directory_of_another_kind_is_a_usage_error(tmp_path: Path) -> None:
    code, told, _ = status(tmp_path)
    assert code == 2
    assert "holds no corpus, token shards, run, fine-tuning or evaluations, and nothing was submitted" in told


def test_watching_ends_when_nothing_is_at_work(corpus: Corpus, slurm: SlurmCommands) -> None:
    done(array(corpus), "813_0", "813_1", "813_2", "813_3")
    assert run("status", corpus.root, "--watch").returncode == 0


def test_logs_are_printed_by_their_ends_the_newest_last(corpus: Corpus, slurm: SlurmCommands) -> None:
    submission = array(corpus)
    logs = submission.logs
    assert run("logs", corpus.root).stdout == "no task has begun\n"
    for number in range(12):
        (logs / f"813_{number}.log").write_text("".join(f"{number}: line {n}\n" for n in range(30)))
    told = run("logs", corpus.root, "--lines", 1).stdout
    assert told.startswith(f"2 other logs are in {logs}\n")
    assert told.count("==>") == 10
    assert "11: line 29\n" in told
    assert "line 28" not in told
    done(submission, "813_0", "813_1", "813_2", "813_3")
    assert run("logs", corpus.root, "--failed").stdout == "nothing has failed\n"


def test_following_prints_what_is_added_until_nothing_is_queued(
    corpus: Corpus, slurm: SlurmCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_command, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr(jobs, "POLL_S", 0.01)
    log = array(corpus).logs / "813_0.log"
    log.write_text("begun\n")
    once = f"test -e {slurm.folder}/asked && exit\n: > {slurm.folder}/asked\necho ended >> '{log}'"
    (slurm.folder / "squeue").write_text(f"#!/bin/sh\n{once}\necho '813_0|outbound|RUNNING|None'\n")
    told = run("logs", corpus.root, "--follow").stdout
    assert told == f"==> {log} <==\nbegun\n\n==> {log} <==\nended\n"


def test_what_was_never_submitted_has_no_logs_and_nothing_to_cancel(corpus: Corpus) -> None:
    for command in ("logs", "cancel"):
        ended = run(command, corpus.root)
        assert ended.returncode == 2
        assert "nothing was submitted for it" in ended.stderr


def test_lengths_of_time_are_told_in_their_largest_unit() -> None:
    assert [duration(seconds) for seconds in (59, 60, 3600, 86400)] == ["59 s", "1 min", "1.0 h", "1.0 d"]
