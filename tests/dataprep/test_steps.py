"""The steps of a corpus and of a pack: any process makes any part, and every row keeps its promises."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dataprep import all_records, ingest, steps
from dataprep.audit.verify import problems, unknown
from dataprep.corpus import evalsets
from dataprep.corpus.directory import PLACES, Corpus, Decisions, Facts
from dataprep.corpus.recipe import Collect, Decontaminate, NearDuplicates, Recipe, Select
from dataprep.crawl import rounds
from dataprep.crawl.settings import CrawlSettings
from dataprep.forget import run as forgetting
from dataprep.forget.scope import of_url
from dataprep.imports.inputs import kind_of
from dataprep.imports.rows import Fields
from dataprep.pack import pack as packing
from dataprep.pack import steps as pack_steps
from dataprep.pack.packing import Layout
from dataprep.store import root_manifest
from dataprep.store.pool import Tick
from dataprep.store.records import load_record, load_step, step_path
from dataprep.store.step import Scope, Step, inputs_of
from support.forking import forking
from support.leaks import contents
from support.patience import patient
from support.ready_corpus import no_progress
from support.servers.pywb import write_warc
from support.workers.part import SMALL, directory_of, make

PAGES = 24
WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train".split()
QUESTION = "how many lanterns hung in the winter harbour on the evening of the snow before the train came"
LAYOUT = Layout(block_tokens=500, shard_blocks=2, held_out=0.2)
PLANNED = [step for step in (*steps.STEPS, *pack_steps.STEPS) if step.plan]


def mark(number: int) -> str:
    """A word that only one page holds; two copies hold one."""
    return f"zyx{number}xyz"


def url(number: int) -> str:
    return f"http://site-{number % 3}.test/{mark(number)}"


def page(number: int) -> bytes:
    """A page; every sixth holds an example of the evaluation set, and every fifth nearly repeats the last."""
    original = number - 1 if number % 5 == 4 else number
    words = random.Random(original).choices(WORDS, k=160)
    if original % 6 == 0:
        words[80:80] = QUESTION.split()
    text = " ".join([*words, mark(original), "again" if original != number else "once"])
    return f"<html><head><title>{mark(number)}</title></head><body><p>{text}</p></body></html>".encode()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages in two WARC files, two dumps of links, some of them to these pages, and an evaluation set."""
    desk = tmp_path_factory.mktemp("desk")
    for file in (0, 1):
        numbers = range(file * PAGES // 2, (file + 1) * PAGES // 2)
        captures = [
            (url(n), f"201308010000{n:02d}", 200, {"Content-Type": "text/html"}, page(n)) for n in numbers
        ]
        write_warc(desk / f"{file}.warc.gz", captures)  # type: ignore[arg-type]
        linked = range(
            20 + 12 * file, 34 + 12 * file
        )  # the first four are pages above, two are in both dumps
        posts = [{"id": f"{n}", "url": url(n), "score": 9, "created_utc": n} for n in linked]
        (desk / f"{file}.json").write_text("\n".join(map(json.dumps, posts)))
    (desk / "evals").mkdir()
    (desk / "evals" / "quiz.jsonl").write_text(json.dumps({"question": QUESTION}))
    return desk


def build(desk: Path, root: Path) -> Corpus:
    """A corpus of two imports, and of links that nobody fetches, by the commands' own functions."""
    sets = desk / "evals"
    cut = Decontaminate(sets=str(sets), content=evalsets.content(evalsets.hashes(sets)), min_piece=50)
    near = NearDuplicates(threshold=0.6)
    recipe = Recipe(
        name="law",
        collect=Collect(partition_mb=0.002),
        select=Select(near_duplicates=near, decontaminate=cut, shard_mb=0.004),
    )
    corpus = Corpus.create(root, recipe)
    for file in (0, 1):
        ingest.bring(corpus, f"m{file}", "warc", [desk / f"{file}.warc.gz"], Fields(), None, 1, no_progress)
    dumps = [desk / f"{file}.json" for file in (0, 1)]
    for until in ("links", "shard"):
        crawl = CrawlSettings()
        increment = ingest.add(
            corpus, "m2", dumps, crawl, 1, until, no_progress, lambda _: nullcontext(print)
        )
        rounds.finish(increment)
    return corpus


@pytest.fixture(scope="module")
def ordinary(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The corpus as a command leaves it. Left as it is."""
    return build(desk, tmp_path_factory.mktemp("ordinary") / "corpus")


@pytest.fixture
def corpus(ordinary: Corpus, tmp_path: Path) -> Corpus:
    shutil.copytree(ordinary.root, tmp_path / "corpus")
    return Corpus.open(tmp_path / "corpus")


@pytest.fixture
def small() -> Iterator[pytest.MonkeyPatch]:
    """Small tasks here, too, and nothing that a step made goes."""
    with pytest.MonkeyPatch.context() as patch:
        for module, constant, value in SMALL:
            patch.setattr(module, constant, value)
        patch.setattr("dataprep.store.step.remove_step", lambda step, scope: None)
        patch.setattr(packing, "tidy", lambda tokens: None)
        yield patch


class Processes:
    """An executor: a new process for each part, which is given a directory, the step and the part.

    One part of each step starts from nothing, with a hash seed of its own; the others are forked.
    """

    made: dict[str, int]
    started: set[str]
    order: random.Random
    joins = False

    def __init__(self, workers: int) -> None:
        pass

    def __call__(self, step: Step[Any], scope: Scope, parts: Sequence[str], tick: Tick) -> None:
        self.made[step.name] = max(len(parts), self.made.get(step.name, 0))
        for part in self.order.sample(parts, k=len(parts)):
            words = [str(directory_of(scope)), step.name, part]
            (forked if step.name in self.started else started)(words)
            self.started.add(step.name)


def started(words: list[str]) -> None:
    """Make a part in a process that starts from nothing."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.workers.part", *words]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=patient()
    )
    assert ended.returncode == 0, ended.stderr


def forked(words: list[str]) -> None:
    """Make a part in a process that is forked from one with the imports."""
    process = forking().Process(target=make, args=words)
    process.start()
    process.join(patient())
    assert process.exitcode == 0, words


def files(root: Path) -> dict[str, bytes]:
    """All but locks, and what a pack says of where it is."""
    found = [
        path for path in root.rglob("*") if path.is_file() and path.name not in (".lock", "packing.json")
    ]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def same(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """What is here or there only, or differs."""
    return sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))


@pytest.mark.slow(20)
def test_separate_processes_given_a_directory_a_step_and_a_part_make_the_same_bytes_in_any_order(
    desk: Path, bpe: Path, tmp_path: Path, small: pytest.MonkeyPatch
) -> None:
    def pack(corpus: Corpus, tokens: Path) -> None:
        packing.pack(corpus, corpus.current_build(), bpe, tokens, LAYOUT, 1, no_progress)

    whole = build(desk, tmp_path / "whole")
    pack(whole, tmp_path / "whole tokens")
    Processes.made, Processes.started, Processes.order = {}, set(), random.Random(7)
    small.setattr(ingest, "LocalPool", Processes)
    small.setattr(packing, "LocalPool", Processes)
    apart = build(desk, tmp_path / "apart")
    pack(apart, tmp_path / "apart tokens")

    assert Processes.made.keys() == {step.name for step in PLANNED}
    several = {name for name, parts in Processes.made.items() if parts > 1}
    of_one_part = {"ngrams", "decontaminate"}
    assert several == Processes.made.keys() - of_one_part
    links = apart.increments()[2].parts("links")
    assert sum(part.passed for part in links) == 22
    assert all(part.passed for part in links)
    assert sum(part.reasons.get("repeated_submission", 0) for part in links) == 2
    made = files(tmp_path / "whole")
    assert any("near_duplicates" in Path(name).parts for name in made), "temporary steps are compared, too"
    assert same(files(tmp_path / "apart"), made) == []
    assert same(files(tmp_path / "apart tokens"), files(tmp_path / "whole tokens")) == []
    cut = [part for part in apart.current_build().parts("decontaminate") if part.outputs["cut"].rows]
    assert cut, "something was decontaminated"
    for increment in apart.increments()[:2]:
        verdicts = apart.current_build().parts("verdicts", increment)
        assert any(part.reasons.get("near_duplicate") for part in verdicts)


def origins(corpus: Corpus) -> dict[str, str]:
    """By what each record and step file is known."""
    found = {path: load_record(path).origin for _, path in all_records.record_paths(corpus)}
    found |= {path: load_step(path).origin for _, path in all_records.step_files(corpus)}
    return {str(path.relative_to(corpus.root)): origin for path, origin in found.items()}


@pytest.mark.slow(3)
def test_forgetting_a_document_rewrites_what_held_it_and_nothing_that_was_made_from_that(
    corpus: Corpus,
) -> None:
    gone = 7
    before, known = files(corpus.root), origins(corpus)
    (build_path,) = (path for path in (corpus.root / "builds").iterdir() if path.is_dir())
    forgetting.begin(corpus, of_url(corpus, url(gone)))
    forgetting.finish(corpus, lambda _: None)
    corpus = Corpus.open(corpus.root)
    after = files(corpus.root)
    changed = {name for name in before if name.endswith(".json") and after.get(name) != before[name]}
    places = ("increments/0001-m0", f"builds/{build_path.name}/0001-m0")
    touched = {
        *(f"{places[0]}/{step}" for step in ("links", "fetch", "extract")),
        *(f"{places[1]}/{step}" for step in ("verdicts", "decontaminate", "shard")),
    }
    assert {name.removesuffix(".step.json") for name in changed if name.endswith(".step.json")} == touched
    records = {name for name in changed if not name.endswith(".step.json")} - {root_manifest.NAME}
    assert {name.rpartition("/")[0] for name in records} == touched
    assert len(records) == len(touched), "one record of each"
    now = origins(corpus)
    assert {name: now[name] for name in known} == known
    assert now.keys() - known.keys() == {"forgotten/done/0001.json"}
    assert list(problems(corpus)) == []
    assert unknown(corpus) == []

    for increment in corpus.increments():
        for step in PLANNED:
            scope = Decisions(corpus, corpus.current_build(), increment)
            imported = step.name == "links" and kind_of(increment)
            if step in steps.STEPS and not (step.temporary or imported):
                assert inputs_of(step, scope) == load_step(step.file(scope)).inputs, step.name
    ingest.extend(corpus, 1, no_progress)
    assert same(files(corpus.root), after) == []
    assert not [path for path, data in contents(corpus.root) if mark(gone).encode() in data]


@pytest.mark.slow(2)
def test_verify_follows_what_was_forgotten_and_still_sees_other_changes(corpus: Corpus) -> None:
    forgetting.begin(corpus, of_url(corpus, url(7)))
    forgetting.finish(corpus, lambda _: None)
    corpus = Corpus.open(corpus.root)
    increment = corpus.increments()[0]
    path = step_path(increment.path, "extract")
    content = path.read_bytes()
    assert load_step(path).origin.encode() in content, "it was rewritten"
    path.write_bytes(content.replace(b'"passed": ', b'"passed": 1', 1))
    assert [f"{path}: is damaged" in line for line in problems(corpus)] == [True]


NAMES = [step.name for step in steps.STEPS]


def test_every_step_has_a_word_of_its_own_and_reads_earlier_ones() -> None:
    assert len({*NAMES, *(step.name for step in pack_steps.STEPS)}) == len(PLANNED) + 3
    for table in (steps.STEPS, pack_steps.STEPS):
        earlier: list[str] = []
        for step in table:
            assert step.name.isidentifier()
            assert {*step.reads} <= {*earlier}, step.name
            earlier.append(step.name)
    assert steps.UNTIL == ["links", "fetch", "extract", "score", "shard"]


@pytest.mark.parametrize("step", [*steps.STEPS, *pack_steps.STEPS], ids=lambda step: step.name)
def test_a_row_is_known_by_its_functions_wherever_it_is_sent(step: Step[Any]) -> None:
    assert pickle.loads(pickle.dumps(step)) == step
    assert (step.plan is None) == (step.run is None)
    assert step.at in {*PLACES, "pack"}
    assert step.plan or step.at == "facts", "what a module leads is done once, when an increment comes in"
    functions: list[Callable[..., Any] | None] = [step.plan, step.run, step.inputs, step.versions]
    for function in filter(None, functions):
        assert function.__module__.startswith("dataprep.")
        assert "<" not in function.__qualname__


@pytest.mark.slow(1)
def test_every_step_that_leaves_what_can_be_read_can_forget_it(ordinary: Corpus) -> None:
    marks = [mark(number).encode() for number in range(PAGES)]
    readable = {
        step.name
        for step, folder in all_records.step_folders(ordinary, temporary=False)
        if any(each in data for _, data in contents(folder) for each in marks)
    }
    assert readable == {"links", "fetch", "extract", "shard"}
    forgetful = {step.name for step in steps.STEPS if step.forget}
    assert forgetful == readable | {"retry", "verdicts", "decontaminate"}
    lasting = {step.name for step in steps.STEPS if not step.temporary}
    assert lasting - forgetful == {"score", "ngrams"}, "numbers, and hashes of what is not the corpus's"


@pytest.mark.slow(1)
def test_the_places_of_steps_are_those_of_their_scopes(ordinary: Corpus) -> None:
    increment = ordinary.increments()[0]
    decisions = Decisions(ordinary, ordinary.current_build(), increment)
    assert decisions.places.keys() == PLACES.keys()
    assert Facts(ordinary, increment).places["facts"] == decisions.places["facts"]
    for name, place in decisions.places.items():
        if name not in ("work", "reading"):
            assert place in ordinary.root.glob(PLACES[name])
    for step in steps.STEPS:
        scope: Any = Facts(ordinary, increment) if step.at == "facts" else decisions
        assert step.is_whole(scope) is not step.temporary, step.name
