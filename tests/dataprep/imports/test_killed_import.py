"""Promise 1 for imports: `corpus import`, killed in its middle, ends with an undisturbed run's bytes."""

from __future__ import annotations

import gzip
import json
import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprep import ingest
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Recipe
from dataprep.crawl.settings import CrawlSettings
from dataprep.imports import first_captures
from dataprep.imports.byte_ranges import Archive
from dataprep.imports.rows import Fields
from support.kills import run_to_the_kill
from support.ready_corpus import enter_links, no_progress
from support.servers.pywb import index_warcs, write_warc
from support.servers.ranges import serving

pytestmark = pytest.mark.slow(13)

WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train".split()
RECIPE = Recipe(name="killed", collect=Collect(partition_mb=0.02))
PAGES = 60


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sixty texts in every kind of file."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = random.Random(0)
    texts = [f"Page {n}. " + " ".join(rng.choices(WORDS, k=300)) for n in range(PAGES)]
    (folder / "text").mkdir()
    for number, text in enumerate(texts):
        (folder / "text" / f"{number:02d}.txt").write_text(text)
    rows = [{"text": text} for text in texts]
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode(), mtime=0))
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet", row_group_size=10)
    (folder / "warc").mkdir()
    for file in range(3):
        captures = [
            (f"http://a.test/{n}", "20130803000000", 200, {"Content-Type": "text/plain"}, texts[n].encode())
            for n in range(file, PAGES, 3)
        ]
        write_warc(folder / "warc" / f"{file}.warc.gz", captures)
    index_warcs(folder / "index.cdxj", folder / "warc")
    return folder


def make(root: Path, kind: str) -> Corpus:
    corpus = Corpus.create(root, RECIPE)
    if kind == "cdx":
        posts = [
            {"id": str(n), "url": f"http://a.test/{n}", "score": 9, "created_utc": 1} for n in range(PAGES)
        ]
        dump = root.parent / "dump.json"
        dump.write_text("\n".join(map(json.dumps, posts)))
        enter_links(corpus, "x", [dump])
    return corpus


WHERE = {
    "text": ["extract"],
    "jsonl": ["extract"],
    "parquet": ["score"],
    "warc": ["captures", "links"],
    "cdx": ["captures", "pages", "fetch"],
}
"""Folders of the increment; the clock of a kill starts as something new comes there."""


@pytest.mark.parametrize("kind", WHERE)
def test_an_import_that_is_killed_ends_with_the_same_bytes(inputs: Path, tmp_path: Path, kind: str) -> None:
    files = {"jsonl": "rows.jsonl.gz", "parquet": "rows.parquet", "cdx": "index.cdxj"}.get(kind, kind)
    whole, killed = make(tmp_path / "whole", kind), make(tmp_path / "killed", kind)
    with serving(inputs / "warc") as server:

        def slowly(path: str, offset: int, times: int) -> str:
            time.sleep(0.01)
            return ""

        server.fault = slowly
        more = ["--base", server.base, "--delay", "0"] if kind == "cdx" else []
        command = ["--kind", kind, "--name", "x", "--workers", "1", *more]
        rng = random.Random(3)
        kills = [
            _kill_in(folder, killed, inputs / files, command, rng.uniform(0, 0.05)) for folder in WHERE[kind]
        ]
        assert all(kills)
        archive = Archive(server.base, CrawlSettings(delay_s=0)) if kind == "cdx" else None
        for corpus in (whole, killed):
            ingest.bring(corpus, "x", kind, [inputs / files], Fields(), archive, 1, no_progress)
    assert list(problems(killed)) == []
    assert sum(record.passed for record in killed.increments()[0].records("extract")) == PAGES
    made = _files(whole.root)
    for path in set(_files(killed.root)) - set(made):  # an attempt of a killed process, which no record names
        assert path.name.endswith(".part") or path.name == ".lock", path
    for path in made:
        assert (killed.root / path).read_bytes() == (whole.root / path).read_bytes(), path


class Killed(BaseException):
    """Not an error that anything handles."""


def test_an_archive_whose_import_is_killed_twice_while_its_captures_enter_comes_in(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call names the records of the first in the manifest, then makes them anew."""
    root = make(tmp_path / "corpus", "warc").root

    def bring() -> None:
        opened = Corpus.open(root, remaking=True)
        ingest.bring(opened, "x", "warc", [inputs / "warc"], Fields(), None, 1, no_progress)

    def die(*_: object) -> None:
        raise Killed

    for function in ("publish_index", "index_attempt"):  # when all records are there, and before the first
        with monkeypatch.context() as patch:
            patch.setattr(first_captures, function, die)
            with pytest.raises(Killed):
                bring()
    bring()
    assert list(problems(Corpus.open(root))) == []


def _files(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())


def _kill_in(folder: str, corpus: Corpus, files: Path, command: list[str], then_s: float) -> bool:
    """Run until it begins to write in a folder, and kill some time after that; False if it ended before."""
    place = f"{corpus.root}/increments/*/{folder}"
    return run_to_the_kill("in", place, then_s, "corpus", "import", corpus.root, files, *command)
