"""A corpus at work: one increment is built, of the next three parts are to be scored."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dataprep.corpus.directory import Corpus, Facts
from dataprep.extract import stage as extract
from dataprep.links import karma
from dataprep.pack.pack import next_generation
from dataprep.pack.packing import Packing
from dataprep.pack.steps import STEPS
from dataprep.steps import BY_NAME
from dataprep.store.claims import Claims
from dataprep.store.records import finish_led
from dataprep.store.step import make_part, plan_step
from dataprep.store.workers import OpenPart, Worker, new_worker, workers_folder, write_worker
from support import packed_corpus
from support.ready_corpus import commit_part, document_row

PARTS = ["part-00000", "part-00001", "part-00002"]
PLACE = "increments/0002-b"


def begun(root: Path) -> Corpus:
    """The corpus; nothing of the open step is made yet."""
    corpus = packed_corpus.built(root, range(4))
    increment = corpus.increment("b")
    commit_part(corpus, increment, "links", 0, [], karma.SCHEMA)
    finish_led(increment.path, "links", {})
    finish_led(increment.path, "fetch", {})
    for number in range(len(PARTS)):
        rows = [
            document_row(n, f"http://b.test/{number}/{n}", packed_corpus.TEXTS[n]) for n in range(number + 1)
        ]
        commit_part(corpus, increment, "extract", number, rows, extract.SCHEMA)
    finish_led(increment.path, "extract", {})
    plan_step(BY_NAME["score"], Facts(corpus, increment))
    return corpus


def score(corpus: Corpus, part: str) -> None:
    """Make one of the parts."""
    make_part(BY_NAME["score"], Facts(corpus, corpus.increments()[-1]), part, 1, lambda _: None)


def claims(corpus: Corpus, worker: Worker) -> Claims:
    """The claims of the open step, as a worker makes them."""
    return Claims(corpus.root / "jobs" / PLACE, "score", worker)


def pack_begun(corpus: Corpus, bpe: Path, tokens: Path) -> Packing:
    """A pack of the corpus's text shard; nothing of it is made yet."""
    tokens.mkdir(exist_ok=True)
    _, packing = next_generation(corpus, corpus.current_build(), bpe, tokens, packed_corpus.LAYOUT)
    assert packing
    packing.save()
    plan_step(STEPS[0], packing)
    return packing


def pack_claims(tokens: Path, worker: Worker) -> Claims:
    """The claims of the open step of a pack, as a worker makes them."""
    place = Packing.load(tokens).places["pack"]
    return Claims(tokens / "jobs" / place.relative_to(tokens), STEPS[0].name, worker)


def packer(tokens: Path, host: str, **about: object) -> Worker:
    """A worker on another machine that packs."""
    shown = new_worker("pack", 1)
    shown.name, shown.host, shown.machine = f"{host}-{shown.name}", host, host
    for name, value in about.items():
        setattr(shown, name, value)
    write_worker(tokens, shown)
    return shown


def worker(corpus: Corpus, host: str, *parts: str, silent_s: float = 0, **about: object) -> Worker:
    """A worker on another machine that holds these parts and has been silent for so long."""
    shown = new_worker("cpu", 2)
    shown.name, shown.host, shown.machine = f"{host}-{shown.name}", host, host
    shown.open = [
        OpenPart(step="score", place=PLACE, part=part, number=1, since=time.time()) for part in parts
    ]
    for name, value in about.items():
        setattr(shown, name, value)
    write_worker(corpus.root, shown)
    seen = time.time() - silent_s
    os.utime(workers_folder(corpus.root) / f"{shown.name}.json", (seen, seen))
    return shown
