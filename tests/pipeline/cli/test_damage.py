"""Every command on a damaged corpus: no traceback, the file and a remedy are named, and `verify` finds it."""

from __future__ import annotations

import re
import shutil
import traceback
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest

from dataprep.errors import DataError
from pipeline.data.token_stream import TokenStream, load_generation, verify
from pipeline.errors import RunError
from support import whole_corpus
from support.cli import Ended, run

pytestmark = pytest.mark.slow(35)

REMEDIES = ("restore", "`outbound", "again", "remove", "choose", "begin anew", "correct")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 0x41
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path) -> None:
    path.unlink()


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_json(path: Path) -> None:
    path.write_bytes(b"[1]")


HARMS: list[Callable[[Path], None]] = [flip, cut, delete, replace_by_a_directory, empty, other_json]


def kind(path: str) -> str:
    """What of a file's name tells its kind; of each kind one file is damaged."""
    return re.sub(r"\d{4}-\w+/|(train|val)-|[0-9a-f]{12,}|\d+", "N", path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("damage")
    whole_corpus.make(home)
    return home


def commands(home: Path) -> list[list[object]]:
    corpus, tokens, bpe = (home / name for name in ("corpus", "tokens", "bpe"))
    one = ["--workers", 1]
    return [
        ["corpus", "status", corpus],
        ["corpus", "report", corpus, "-o", home / "report.html"],
        ["corpus", "trace", corpus, "http://a2.test/2", "--tokens", tokens, "--show"],
        ["corpus", "trace", corpus, "--tokens", tokens, "--position", 1000],
        ["corpus", "export", corpus, "-o", home / "out", *one],
        ["corpus", "diff", corpus],
        ["corpus", "overlap", corpus, "--sets", home / "evals", "-o", home / "dirty.jsonl", *one],
        ["corpus", "gc", corpus, "--dry-run"],
        ["tokenizer", "train", corpus, "-o", home / "bpe2", "--vocab-size", 300],
        ["tokenizer", "info", bpe],
        ["pack", corpus, "--tokenizer", bpe, "-o", tokens, "--held-out", 0.2, *one],
        ["corpus", "import", corpus, home / "warc", "--kind", "warc", "--name", "w", *one],
        ["corpus", "select", corpus, "min_words=4", *one],
        ["corpus", "import", corpus, home / "more.jsonl", "--kind", "jsonl", *one],
    ]


def forget(home: Path) -> list[object]:
    return ["corpus", "forget", home / "corpus", "--url", "http://a3.test/3", "--tokens", home / "tokens"]


def tried(*words: object) -> Ended:
    """Run a command; one that ends in a traceback is told with the others."""
    try:
        return run(*words)
    except Exception:
        return Ended(2, "", traceback.format_exc())


def train_would_begin(tokens: Path) -> Ended:
    """What a run does with its data before the first step."""
    try:
        generation = load_generation(tokens, None)
        for split in generation.splits:
            TokenStream(generation, split)
            for shard in generation.splits[split].shards:
                verify(generation, shard)
    except (RunError, DataError) as error:
        return Ended(1, "", str(error))
    return Ended(0, "", "")


def told_of(ended: Ended, path: Path) -> bool:
    """Whether a command that failed names the file, or the directory of a tokenizer, and a remedy."""
    said = " ".join(ended.stderr.split())
    names = (path.name, f"{path.parent}:")
    return any(name in said for name in names) and any(remedy in said for remedy in REMEDIES)


OUTSIDE = "bpe/"
"""The tokenizer from which the tokens were packed, of which they hold a copy."""


def test_no_command_shows_a_traceback_on_a_damaged_file_and_verify_names_it(
    whole: Path, tmp_path: Path
) -> None:
    """Kinds of files, ways to damage them and commands take turns, since all of them together take long.

    A forget comes last: once begun and stopped by the damage, every other command asks to finish it first.
    """
    files = [str(path.relative_to(whole)) for path in sorted(whole.rglob("*")) if path.is_file()]
    kept = ("corpus/", "tokens/", "bpe/")
    sample = {kind(path): path for path in files if path.startswith(kept) and not path.endswith(".lock")}
    assert len(sample) > 30
    wrong, turns = [], cycle(range(len(commands(whole))))
    for path, harm in zip(sample.values(), cycle(HARMS), strict=False):
        home = tmp_path / "home"
        shutil.copytree(whole, home)
        harm(home / path)
        found = tried("corpus", "verify", home / "corpus", "--tokens", home / "tokens")
        seen = found.returncode == 1 and Path(path).name in found.stdout + found.stderr
        if not seen and not path.startswith(OUTSIDE):
            wrong.append((path, harm.__name__, "verify", found))
        chosen = [commands(home)[turn] for turn in islice(turns, 4)] + [forget(home)]
        endings = [(" ".join(map(str, words[:2])), tried(*words)) for words in chosen]
        endings.append(("train", train_would_begin(home / "tokens")))
        for command, ended in endings:
            if ended.returncode not in (0, 1) or (ended.returncode and not told_of(ended, home / path)):
                wrong.append((path, harm.__name__, command, ended))
        shutil.rmtree(home)
    assert wrong == []
