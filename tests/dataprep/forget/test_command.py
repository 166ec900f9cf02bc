"""`corpus forget`: mistakes are refused, a dry run changes nothing, a tombstone without effect is undone."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from dataprep import ingest
from dataprep.audit import gc
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Recipe
from dataprep.corpus.tombstones import tombstones
from dataprep.errors import DataError
from dataprep.forget.command import Asked, undo
from dataprep.forget.run import begin
from dataprep.imports.rows import Fields
from support.cli import result, run
from support.kills import die_before, killed
from support.ready_corpus import no_progress


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Texts of two sites, of which one is a page of a public suffix."""
    made = Corpus.create(tmp_path / "corpus", Recipe(name="commands"))
    bring(made, "first", "http://a.test/x", "http://me.github.io/x")
    return made


def bring(corpus: Corpus, name: str, *urls: str) -> int:
    """Import a text of each URL; returns how many were left out as forgotten."""
    path = corpus.root.parent / f"{name}.jsonl"
    rows = [{"text": f"The {url} sailed the sea " * 9, "url": url} for url in urls]
    path.write_text("\n".join(map(json.dumps, rows)))
    increment = ingest.bring(corpus, name, "jsonl", [path], Fields(url="url"), None, 1, no_progress)
    assert list(problems(corpus)) == []
    return sum(part.reasons.get("forgotten", 0) for part in increment.parts("extract"))


def refused(corpus: Corpus, *words: str) -> str:
    """The message of a command that refuses something, and changes nothing."""
    before = files(corpus)
    ended = run("corpus", "forget", corpus.root, *words)
    assert ended.returncode in (1, 2), ended.stdout
    assert files(corpus) == before
    return " ".join(ended.stderr.split())


def files(corpus: Corpus) -> dict[Path, bytes]:
    paths = [path for path in corpus.root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: path.read_bytes() for path in paths}


@pytest.mark.slow(1)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_an_unknown_site_is_refused_and_kept_out_only_on_request(corpus: Corpus, dry: list[str]) -> None:
    message = refused(corpus, "--site", "b.test", *dry)
    assert "--site b.test: nothing of it is in this corpus; check its spelling, or add --ahead" in message
    result("corpus", "forget", corpus.root, "--site", "b.test", "--ahead", *dry)
    assert bring(corpus, "second", "http://b.test/x", "http://www.b.test/y", "http://c.test/") == (
        0 if dry else 2
    )


def test_a_public_suffix_is_refused_and_keeps_out_all_below_it_only_on_request(corpus: Corpus) -> None:
    assert "co.uk: is a public suffix" in refused(corpus, "--site", "co.uk")
    result("corpus", "forget", corpus.root, "--site", "co.uk", "--ahead")
    assert run("corpus", "forget", corpus.root, "--site", "co.uk").stdout == "nothing new\n"
    assert bring(corpus, "second", "http://a.co.uk/x", "http://www.b.co.uk/y", "http://co.uk.test/z") == 2


def test_a_suffix_keeps_out_what_is_below_the_suffixes_below_it(corpus: Corpus) -> None:
    result("corpus", "forget", corpus.root, "--site", "uk", "--ahead")
    assert bring(corpus, "second", "http://a.co.uk/x", "http://b.uk/x", "http://uk.test/x") == 2
    message = refused(corpus, "--site", "io", "--ahead")
    assert "forget those of this corpus first, one by one: me.github.io" in message


def test_a_bare_name_is_a_site_and_no_suffix(corpus: Corpus) -> None:
    result("corpus", "forget", corpus.root, "--site", "test", "--ahead")
    assert bring(corpus, "second", "http://test/x", "http://b.test/x") == 1


def test_a_suffix_below_which_sites_are_held_names_them(corpus: Corpus) -> None:
    """None of them is to go by one word, and none is to stay when those that come later are kept out."""
    for more in ([], ["--ahead"]):
        message = refused(corpus, "--site", "github.io", *more)
        assert "forget those of this corpus first, one by one: me.github.io" in message
    assert result("corpus", "forget", corpus.root, "--site", "me.github.io")["documents"] == 1


def test_a_dry_run_lists_the_urls_and_says_that_nothing_was_changed(corpus: Corpus) -> None:
    before = files(corpus)
    printed = run("corpus", "forget", corpus.root, "--site", "a.test", "--dry-run").stdout.splitlines()
    assert printed == [
        "would be forgotten, and kept out: 1 links, 1 documents",
        "  http://a.test/x",
        "token shards that were packed before would still hold it: give them as --tokens",
        "nothing was changed",
    ]
    assert files(corpus) == before
    result("corpus", "forget", corpus.root, "--site", "a.test")
    printed = run("corpus", "forget", corpus.root, "--site", "a.test", "--dry-run").stdout.splitlines()
    assert printed == ["nothing new", "nothing was changed"]


@pytest.mark.slow(2)
@pytest.mark.parametrize(
    "words", ["--site b.test", "--url http://b.test/x", "--submission a", "--site co.uk"]
)
def test_a_tombstone_under_which_nothing_was_stored_is_undone(corpus: Corpus, words: str) -> None:
    before = files(corpus)
    result("corpus", "forget", corpus.root, *words.split(), "--ahead")
    assert len(tombstones(corpus.root)) == 1
    assert result("corpus", "forget", corpus.root, *words.split(), "--undo") == {"undone": words}
    assert files(corpus) == before
    assert bring(corpus, "second", "http://b.test/x", "http://b.co.uk/x") == 0


@pytest.mark.slow(1)
def test_what_was_left_out_meanwhile_comes_in_when_it_is_brought_again(corpus: Corpus) -> None:
    result("corpus", "forget", corpus.root, "--site", "b.test", "--ahead")
    assert bring(corpus, "second", "http://b.test/x", "http://c.test/x") == 1
    result("corpus", "forget", corpus.root, "--site", "b.test", "--undo")
    assert bring(corpus, "third", "http://b.test/x") == 0
    assert result("corpus", "trace", corpus.root, "http://b.test/x")["documents"][0]["verdict"] == "kept"


def test_a_tombstone_under_which_something_went_stays(corpus: Corpus) -> None:
    result("corpus", "forget", corpus.root, "--site", "a.test")
    message = refused(corpus, "--site", "a.test", "--undo")
    assert "forgotten/0001.json: 1 links and 1 documents went" in message
    assert "no tombstone of --url http://a.test/x" in refused(corpus, "--url", "http://a.test/x", "--undo")
    assert "--undo takes one of" in refused(corpus, "--undo")
    assert "--undo takes one of" in refused(corpus, "--site", "a.test", "--undo", "--dry-run")


@pytest.mark.slow(2)
def test_an_undo_that_is_killed_anywhere_is_finished_by_the_same_call(corpus: Corpus, tmp_path: Path) -> None:
    site = Asked(site="b.test")
    before = {path.relative_to(corpus.root): data for path, data in files(corpus).items()}
    begin(corpus, site.tombstone(corpus))  # and the forget was killed, too

    def dying(copy: Path, call: int) -> None:
        die_before(call, Path, "unlink")
        undo(Corpus.open(copy, forgetting=True), site, no_progress)

    for call in count(1):
        copy = shutil.copytree(corpus.root, tmp_path / f"{call}")
        met = killed(dying, copy, call)
        again = Corpus.open(copy, forgetting=True)
        if met:
            with suppress(DataError):  # it was killed when all was undone
                undo(again, site, no_progress)
        gc.remove(again, gc.find(again, quiet_s=0))  # files half written
        assert {path.relative_to(copy): data for path, data in files(again).items()} == before
        if not met:
            break
    assert call > 4, "before each removal of the forget and of the undo"
