"""Two commands at once on one corpus: as if one ran after the other, or one says that it has to wait."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from support import whole_corpus
from support.cli import result, run
from support.forking import begin, forking
from support.patience import patient

pytestmark = pytest.mark.slow(50)

ONE = ["--workers", "1"]
COMMANDS: dict[str, list[str]] = {
    "import": ["corpus", "import", "corpus", "more.jsonl", "--kind", "jsonl", *ONE],
    "other import": ["corpus", "import", "corpus", "texts", "--kind", "text", *ONE],
    "select": ["corpus", "select", "corpus", "min_words=4", *ONE],
    "forget": ["corpus", "forget", "corpus", "--url", "http://a3.test/3", "--tokens", "tokens"],
    "gc": ["corpus", "gc", "corpus", "--builds", "current"],
    "pack": ["pack", "corpus", "--tokenizer", "bpe", "-o", "packed", "--held-out", "0.2", *ONE],
    "report": ["corpus", "report", "corpus"],
}
PAIRS = [
    ("import", "import"),
    ("import", "other import"),
    ("import", "select"),
    ("import", "gc"),
    ("select", "select"),
    ("select", "forget"),
    ("forget", "report"),
    ("pack", "pack"),
    ("pack", "forget"),
]

WAITS = ("at work here", "run the command again", "finishes it", "is not finished")
"""How a command says that another one has to end first."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("at-once")
    whole_corpus.make(home)
    (home / "texts").mkdir()
    for number in range(300, 312):
        (home / "texts" / f"{number}.txt").write_text(whole_corpus.text(number))
    return home


def files(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def in_turn(whole: Path, home: Path, pair: tuple[str, str]) -> list[dict[str, bytes]]:
    """The files after one command and then the other, and after the first once more."""
    shutil.copytree(whole, home)
    ends = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for command in (*pair, pair[0]):
            run(*COMMANDS[command])
            ends.append(files(home))
    return ends[1:]


@pytest.mark.parametrize("pair", PAIRS, ids=" + ".join)
def test_two_commands_at_once_end_as_one_after_the_other(
    whole: Path, tmp_path: Path, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    orders = sorted({(first, second), (second, first)})
    context = forking()
    ends = [end for order in orders for end in in_turn(whole, tmp_path / "-".join(order), order)]
    for number, (early, late, wait_s) in enumerate(
        [(first, second, 0), (first, second, 0.06), (second, first, 0.15)]
    ):
        home = tmp_path / str(number)
        shutil.copytree(whole, home)
        said = [tmp_path / f"{number}-{each}.txt" for each in "ab"]
        gates, theirs = zip(*(context.Pipe() for _ in said), strict=True)
        both = [
            context.Process(target=begin, args=(home, COMMANDS[command], told, gate), daemon=True)
            for command, told, gate in zip((early, late), said, theirs, strict=True)
        ]
        for process, their in zip(both, theirs, strict=True):
            process.start()
            their.close()  # so that the end of one that fails at once is seen
        assert [gate.recv() for gate in gates] == ["ready", "ready"]
        for gate, pause in zip(gates, (0.0, wait_s), strict=True):
            time.sleep(pause)
            gate.send("begin")
        for process in both:
            process.join(patient())
        monkeypatch.chdir(home)
        for command, process, told in zip((early, late), both, said, strict=True):
            error = told.read_text()
            assert process.exitcode is not None, "it hangs"
            if process.exitcode:
                assert process.exitcode == 1, error
                assert any(words in error for words in WAITS), error
                again = run(*COMMANDS[command])
                assert again.returncode == 0, again.stderr
        assert result("corpus", "verify", "corpus") == {"problems": [], "unknown": []}
        assert files(home) in ends
