"""`verify` names every file of a full corpus that is lost or altered, with a remedy; `gc` offers no other."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataprep.audit import gc, verify
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack import verify as packed
from support import full_corpus
from support.cli import run

pytestmark = pytest.mark.slow(90)

REMEDIES = ("restore", "put it back", "again", "`outbound")
OUT_OF_SCOPE = re.compile(r"jobs/|wandb/|\.lock$|\.part$|\.journal$")
"""Plans, logs, locks, and attempts under way."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("full")
    full_corpus.make(made)
    return made


def files(home: Path) -> list[Path]:
    found = [path for name in ("corpus", "tokens") for path in sorted((home / name).rglob("*"))]
    return [path for path in found if path.is_file() and not OUT_OF_SCOPE.search(str(path))]


def wrong(home: Path) -> list[str]:
    try:
        corpus = Corpus.open(home / "corpus", forgetting=True, damaged=True)
        found = list(verify.problems(corpus))
        return found + list(packed.problems(corpus, home / "tokens"))
    except DataError as error:  # as the command prints it
        return [str(error)]


def delete(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARMS = [delete, flip]


def harmed(paths: list[Path], harm: Callable[[Path], None]) -> Iterator[Path]:
    """Each of some files, while it is harmed."""
    for path in paths:
        content = path.read_bytes()
        if content or harm is delete:
            harm(path)
            yield path
            path.write_bytes(content)


def is_named(path: Path, lines: list[str]) -> bool:
    return any(path.name in line and any(remedy in line for remedy in REMEDIES) for line in lines)


def test_the_corpus_has_every_kind_of_file_and_nothing_is_wrong_with_it(home: Path) -> None:
    assert wrong(home) == []
    there = " ".join(map(str, files(home)))
    for name in (
        "retry/queue-001.json decontaminate.step.json forgotten/done/0001.json excluded.json ngrams.step.json"
        " import.json builds/current quality- report.html overlap.jsonl generation-2.json funnel-2.json"
        " tokenizer/tokenizer.json 0005-mar/fetch/round-000-1-00000.json manifest.json"
    ).split():
        assert name in there


@pytest.mark.parametrize("harm", HARMS)
def test_every_file_that_is_lost_or_altered_is_named_with_what_to_do(
    home: Path, harm: Callable[[Path], None]
) -> None:
    assert [path for path in harmed(files(home), harm) if not is_named(path, wrong(home))] == []
    assert wrong(home) == []


def test_gc_offers_nothing_while_any_file_that_names_others_is_missing(home: Path) -> None:
    def offered() -> list[Path]:
        try:
            return [garbage.path for garbage in gc.find(Corpus.open(home / "corpus"))]
        except DataError:
            return []

    assert gc.find(Corpus.open(home / "corpus")) == []
    names = [path for path in files(home) if path.suffix == ".json" and path.is_relative_to(home / "corpus")]
    assert {path: found for path in harmed(names, delete) if (found := offered())} == {}


def kind(path: Path, home: Path) -> str:
    """The path of a file without what differs between files of one kind."""
    return re.sub(r"\d{4}-\w+/|[0-9a-f]{12,}|\d+", "N", str(path.relative_to(home)))


def test_the_command_names_one_file_of_each_kind(home: Path) -> None:
    kinds = list({kind(path, home): path for path in files(home)}.values())
    assert len(kinds) > 50
    unseen = []
    for harm in HARMS:
        for path in harmed(kinds, harm):
            ended = run("corpus", "verify", home / "corpus", "--tokens", home / "tokens")
            if ended.returncode != 1 or not is_named(path, (ended.stdout + ended.stderr).splitlines()):
                unseen.append((harm.__name__, path, ended))
    assert unseen == []


def test_what_is_given_up_is_listed_and_the_rest_goes_on(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    corpus, tokens = copy / "corpus", copy / "tokens"
    old = next(path.parent for path in corpus.glob("builds/*/excluded.json"))
    shutil.rmtree(old)
    (tokens / "funnel-1.json").unlink()
    assert run("corpus", "forget", corpus, "--url", "http://a2.test/2").returncode == 1
    ended = run("corpus", "verify", corpus, "--tokens", tokens, "--accept")
    assert ended.returncode == 0
    assert f"builds/{old.name}/excluded.json: given up" in ended.stdout
    assert f"{tokens / 'funnel-1.json'}: given up" in ended.stdout
    assert run("corpus", "forget", corpus, "--url", "http://a2.test/2", "--tokens", tokens).returncode == 0
    assert wrong(copy) == []
