"""Where commands write: what stands in the way is told in the user's words, and nothing is mixed with it."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dataprep.store.files import attempt_path
from dataprep.store.os_errors import explain_os_error
from support import packed_corpus
from support.cli import Ended, result, run

SMALL = ("model.n_ctx=16", "train.eval_sequences=4")
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 and shutil.which("unshare") else []
MAKING = ("init", "export", "tokenizer", "pack", "monitor", "train")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with a build, a tokenizer, token shards."""
    home = tmp_path_factory.mktemp("places")
    packed_corpus.built(home / "corpus", range(20))
    result("tokenizer", "train", home / "corpus", "-o", home / "bpe", "--vocab-size", 300)
    result("pack", home / "corpus", "--tokenizer", home / "bpe", "-o", home / "tokens", "--held-out", 0.2)
    return home


def making(command: str, home: Path, place: Path) -> list[object]:
    """A command that makes a directory at `place`."""
    corpus = home / "corpus"
    return {
        "init": ["corpus", "init", place],
        "export": ["corpus", "export", corpus, "-o", place, "--workers", 1],
        "tokenizer": ["tokenizer", "train", corpus, "-o", place, "--vocab-size", 300],
        "pack": ["pack", corpus, "--tokenizer", home / "bpe", "-o", place, "--workers", 1],
        "monitor": ["monitor", home / "run", "-o", place],
        "train": [
            "train",
            "configs/models/demo.yaml",
            f"run.dir={place}",
            f"data.tokens={home / 'tokens'}",
            *SMALL,
        ],
    }[command]


def complaint(ended: Ended) -> str:
    """What a command that failed says: one line, without the names of errors and of temporary files."""
    said = [line for line in ended.stderr.splitlines() if "━" not in line]
    assert len(said) == 1, ended.stderr
    assert not {"Errno", "errno", "part"} & set(said[0].replace("[", " ").replace(".", " ").split())
    return said[0]


@pytest.mark.parametrize("command", MAKING)
def test_a_file_where_a_directory_is_to_be_is_wrong_usage(command: str, home: Path, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    ended = run(*making(command, home, place))
    assert ended.returncode == 2
    assert f"{place}: is a file; give a directory" in complaint(ended)
    assert place.read_text() == "mine"


@pytest.mark.parametrize("command", ["init", "tokenizer", "pack", "export", "train"])
def test_no_command_puts_its_files_into_a_directory_of_another_kind(command: str, home: Path) -> None:
    there = home / ("tokens" if command == "init" else "bpe" if command == "pack" else "corpus")
    before = sorted(there.rglob("*"))
    ended = run(*making(command, home, there))
    assert ended.returncode == 2
    assert str(there) in complaint(ended)
    assert sorted(there.rglob("*")) == before


def test_a_corpus_begins_in_a_directory_without_other_files(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "letter.txt").touch()
    refused = run("corpus", "init", full)
    assert refused.returncode == 2
    assert "holds other files (letter.txt); give a corpus a directory of its own" in complaint(refused)
    assert [path.name for path in full.iterdir()] == ["letter.txt"]
    for _ in range(2):  # once more says the same: it is a corpus of this recipe
        assert run("corpus", "init", empty).returncode == 0


def test_a_directory_where_a_file_is_wanted_is_told_and_nothing_is_left_beside_it(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "web").mkdir()
    ended = run("corpus", "report", home / "corpus", "-o", tmp_path / "web")
    assert ended.returncode == 1
    assert f"{tmp_path / 'web'}: is a directory, where a file is wanted" in complaint(ended)
    assert [path.name for path in tmp_path.iterdir()] == ["web"]


def test_a_place_where_nobody_may_write_is_named_as_the_user_gave_it(home: Path) -> None:
    ended = run("corpus", "report", home / "corpus", "-o", "/sys/report.html")
    assert ended.returncode == 1
    assert complaint(ended).startswith("error: /sys/report.html: ")
    assert "choose a place where you may" in complaint(ended)


@pytest.mark.slow(1)
@pytest.mark.skipif(not UNSHARE, reason="only root binds a directory read-only here")
def test_a_corpus_that_nobody_may_write_to_is_exported_and_packed(home: Path, tmp_path: Path) -> None:
    out, tokens = tmp_path / "out", tmp_path / "tokens"
    commands = [making("export", home, out), [*making("pack", home, tokens), "--held-out", 0.2]]
    corpus = home / "corpus"
    script = [f"mount --bind {corpus} {corpus}", f"mount -o remount,ro,bind {corpus}"]
    script.append(f"! touch {corpus / 'probe'} 2>/dev/null")
    outbound = [sys.executable, "-m", "pipeline.cli.main"]
    script += [shlex.join([*outbound, *map(str, command)]) for command in commands]
    ended = subprocess.run(
        [*UNSHARE, "sh", "-ec", "\n".join(script)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert (out / "manifest.json").is_file()
    assert (tokens / "generation-1.json").is_file()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_failed_write_names_the_file_that_an_attempt_was_for(tmp_path: Path, number: int) -> None:
    attempt = attempt_path(tmp_path, "page.v2.html")
    assert socket.gethostname() in attempt.name
    said = str(explain_os_error(OSError(number, os.strerror(number), str(attempt))))
    assert said.startswith(f"{tmp_path / 'page.v2.html'}: {os.strerror(number)}; ")


def test_what_is_no_matter_of_files_is_not_explained_as_one() -> None:
    assert explain_os_error(ConnectionResetError(errno.ECONNRESET, "reset")) is None
    assert explain_os_error(BrokenPipeError(errno.EPIPE, "pipe")) is None


@pytest.mark.parametrize(
    ("collect", "named"),
    [
        ("{links: {blocked_sites_file: gone.txt}}", "gone.txt: cannot be read (No such file or directory)"),
        ("{quality: gone.safetensors}", "gone.safetensors: cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_a_recipe_names_and_that_is_not_there_is_told(
    tmp_path: Path, collect: str, named: str
) -> None:
    (tmp_path / "recipe.yaml").write_text(f"name: mine\ncollect: {collect}\n")
    ended = run("corpus", "init", tmp_path / "corpus", "--recipe", tmp_path / "recipe.yaml")
    assert ended.returncode == 1
    assert f"{tmp_path}/{named}; " in complaint(ended)
    assert not (tmp_path / "corpus").exists()
