"""`outbound corpus verify --join`: processes that verify together report what one reports, line by line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataprep.audit import gc
from dataprep.audit.under_way import open_steps
from dataprep.audit.verification import QUIET_S, Verification, state_of, tidy
from dataprep.audit.verify import Report, unknown
from dataprep.corpus.directory import Corpus
from dataprep.store.workers import new_worker, write_worker
from support import cli
from support.cli import Ended, result, run
from support.kills import kill, run_to_the_kill
from support.packed_corpus import built
from support.packed_corpus import run as pack
from support.patience import patient, wait_until

MANY_PARTS = (
    "import fcntl; fcntl.flock = lambda *_: None; from dataprep.store import pool; pool.BATCH_BYTES = 1; "
    "from pipeline.cli.main import main; main()"
)
"""The command where each record is a part, and where the filesystem's locks do nothing."""


@pytest.fixture(scope="module")
def made(bpe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of two increments and its tokens. Left as it is."""
    home = tmp_path_factory.mktemp("made")
    pack(built(home / "mine", range(20), range(20, 40)), bpe, home / "tokens")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def words(home: Path) -> list[str]:
    return ["corpus", "verify", str(home / "mine"), "--tokens", str(home / "tokens")]


def start(home: Path) -> subprocess.Popen[str]:
    """A process that verifies with others, each record by a part of its own."""
    return cli.start(*words(home), "--join", "--workers", 1, python=("-c", MANY_PARTS))


def all_report_as(alone: Ended, processes: list[subprocess.Popen[str]]) -> None:
    """Wait for the ends of processes: each prints and returns what one did that verified alone."""
    for process in processes:
        out, err = process.communicate(timeout=patient())
        assert (process.returncode, out) == (alone.returncode, alone.stdout), err


def harm(path: Path) -> None:
    """Change a byte, and let size and time of the file be as they were."""
    content, status = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def harm_all(home: Path) -> None:
    """Harm or lose a file of each kind."""
    root = home / "mine"
    for pattern in (
        "increments/*/extract/*.parquet",
        "builds/*/*/shard/*.tar",
        "increments/*/links.step.json",
    ):
        harm(max(root.glob(pattern)))
    for pattern in ("increments/*/score/part-00001.json", "increments/*/links/*.parquet"):
        min(root.glob(pattern)).unlink()
    harm(min(root.glob("increments/*/increment.json")))
    harm(max((home / "tokens").glob("*.tar")))


def leave_strangers(home: Path) -> None:
    """Let files of a user, of a stopped selection and of a worker that has ended lie about."""
    root = home / "mine"
    (root / "notes.txt").write_text("mine")
    (root / "builds" / "0123").mkdir()
    worker = new_worker("cpu", 1)
    worker.ended = "whole"
    write_worker(root, worker)


@pytest.mark.slow(8)
@pytest.mark.parametrize(("change", "code", "lines"), [(harm_all, 1, 7), (leave_strangers, 0, 2)])
def test_three_processes_report_what_one_reports(
    home: Path, change: Callable[[Path], None], code: int, lines: int
) -> None:
    change(home)
    before = {path for path in home.rglob("*") if path.name != ".lock"}
    alone = run(*words(home), "--workers", 1)
    assert alone.returncode == code
    assert len(alone.stdout.splitlines()) == lines
    all_report_as(alone, [start(home) for _ in range(3)])
    assert {path for path in home.rglob("*") if path.name != ".lock"} == before


@pytest.mark.slow(8)
def test_others_check_what_a_killed_process_had_begun(home: Path) -> None:
    harm_all(home)
    alone = run(*words(home), "--workers", 1)
    assert alone.returncode == 1
    root = home / "mine"
    first = start(home)
    wait_until(lambda: [*root.glob("jobs/verify/*/records-1/*.json")], "a part that is made")
    first.send_signal(signal.SIGSTOP)
    kill(first)
    (step,) = open_steps(root)
    assert (step.step, step.unit, 0 < step.done < step.parts) == ("records-1", "checks", True)
    all_report_as(alone, [start(home) for _ in range(2)])
    assert not (root / "jobs").exists()


@pytest.mark.slow(10)
def test_a_verification_that_is_killed_again_and_again_goes_on_each_time(home: Path) -> None:
    """It would never end if it began anew."""
    kills = 0
    while run_to_the_kill("at", 30, *words(home), "--join", "--workers", 1, "--once", home / "report"):
        kills += 1
    assert kills > 1
    assert verdict(run(*words(home), "--join", "--once", home / "report")) == (0, True)
    assert not (home / "mine" / "jobs" / "verify").exists()


def verdict(ended: Ended) -> tuple[int, bool]:
    return ended.returncode, ended.stdout.startswith("every file and every count is right")


@pytest.mark.slow(10)
def test_a_file_that_was_changed_since_a_verification_was_killed_is_looked_at_again(home: Path) -> None:
    tar = min((home / "mine").glob("builds/*/*/shard/*.tar"))
    content = tar.read_bytes()
    for change, code in ((harm, 1), (lambda path: path.write_bytes(content), 0)):
        assert run_to_the_kill("at", 25, *words(home), "--join", "--workers", 1)
        assert [*home.glob("mine/jobs/verify/*/records-1.step.json")]
        change(tar)
        ended = run(*words(home), "--join", "--workers", 1)
        assert (ended.returncode, tar.name in ended.stdout) == (code, bool(code))
        assert not (home / "mine" / "jobs" / "verify").exists()


def test_the_state_of_a_corpus_is_that_of_its_files_however_they_were_changed(home: Path) -> None:
    root, tokens = home / "mine", home / "tokens"
    tar = next(tokens.glob("*.tar"))
    seen = [state_of(root, [tokens])]
    for change in (
        lambda: harm(tar),
        lambda: os.replace(shutil.copy2(tar, home / "copy"), tar),
        lambda: (root / "builds" / "new").touch(),
        (root / "builds" / "new").unlink,
    ):
        change()
        seen.append(state_of(root, [tokens]))
    assert len({*seen[:4]}) == 4
    assert seen[4] != seen[3]
    (root / "logs").mkdir()
    (root / "jobs").mkdir()
    (root / "jobs" / "new").touch()
    assert state_of(root, [tokens]) == seen[4]
    assert state_of(root, []) != seen[4]


def test_a_verification_that_has_its_report_or_was_left_long_ago_is_not_joined(tmp_path: Path) -> None:
    def joined() -> str:
        return Verification.of(tmp_path, "state").path.name

    assert joined() == "state-1"
    Verification.of(tmp_path, "state").begin()
    assert joined() == "state-1"
    Verification.of(tmp_path, "state").reported(Report(problems=[]))
    assert joined() == "state-2"
    Verification.of(tmp_path, "state").begin()
    old = time.time() - QUIET_S - 60
    os.utime(tmp_path / "jobs/verify/state-2/begun.json", (old, old))
    assert joined() == "state-3"
    tidy(tmp_path)
    assert [*tmp_path.rglob("*")] == [tmp_path / "jobs"]


@pytest.mark.slow(4)
def test_a_report_that_is_kept_is_printed_and_nothing_is_checked(home: Path) -> None:
    once = home / "report.json"
    together = ("--join", "--workers", 1, "--once")
    first = run(*words(home), *together, once)
    harm(next((home / "tokens").glob("*.tar")))
    assert verdict(first) == verdict(run(*words(home), *together, once)) == (0, True)
    assert verdict(run(*words(home), *together, home / "other.json")) == (1, False)


@pytest.mark.slow(10)
def test_gc_removes_what_a_killed_verification_left_and_waits_for_one_that_runs(home: Path) -> None:
    root = home / "mine"
    assert run_to_the_kill("at", 14, *words(home), "--join", "--workers", 1)
    left = {str(garbage.path.relative_to(root)).partition("-")[0] for garbage in gc.find(Corpus.open(root))}
    assert left == {"jobs/verify", f"jobs/workers/{os.uname().nodename}".partition("-")[0]}
    assert len(unknown(Corpus.open(root))) == 2
    result("corpus", "gc", root)
    assert not (root / "jobs" / "verify").exists()
    process = start(home)
    wait_until(lambda: [*root.glob("jobs/verify/*/records-1/*.json")], "a part that is made")
    result("corpus", "gc", root)
    assert cli.wait_for(process).startswith("every file and every count is right")


def test_a_process_whose_time_is_over_leaves_the_rest_to_others(home: Path) -> None:
    stopped = run(*words(home), "--join", "--for", "0s")
    assert (stopped.returncode, "any process goes on from here" in stopped.stderr) == (75, True)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--for", "1h"], "give --join, too"),
        (["--once", "report"], "give --join, too"),
        (["--join", "--accept"], "leave --join out"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(home: Path, options: list[str], advice: str) -> None:
    refused = run(*words(home), *options)
    assert (refused.returncode, advice in refused.stderr) == (2, True)
