"""Scores of several versions are never mixed: a build refuses them, and `rescore` brings them to one."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from dataprep import ingest
from dataprep.audit import verify
from dataprep.corpus.directory import Corpus
from dataprep.corpus.tombstones import Tombstone
from dataprep.errors import DataError
from dataprep.forget import run as forgetting
from dataprep.rescore import rescore
from dataprep.score import stage as score
from dataprep.store.files import read_table
from dataprep.store.records import Record, recommit
from dataprep.text import fineweb, minhash
from support.ready_corpus import add_pages, make_corpus, no_progress

PAGES = [(n, f"u{n}", f"page {n} is not like the others, it says {n * 37} times {n * 91}") for n in range(6)]


@pytest.fixture
def upgraded(tmp_path: Path) -> Corpus:
    """A corpus of two increments, of which an older version with another measure scored the first."""
    corpus = make_corpus(tmp_path)
    with pytest.MonkeyPatch.context() as older:
        older.setattr(score, "VERSION", 1)
        older.setattr(fineweb, "SHORT", 5)
        add_pages(corpus, "one", PAGES[:4], parts=2)
        ingest.extend(corpus, 1, no_progress)
    add_pages(corpus, "two", PAGES[4:])
    return corpus


def facts(corpus: Corpus) -> list[dict[str, object]]:
    """What one-shot and upgraded corpora must agree on: the scores and the words of increment.json."""
    return [
        {
            "scores": [(record.versions, record.outputs) for record in increment.records("score")],
            "summary": json.loads((increment.path / "increment.json").read_text()),
        }
        for increment in corpus.increments()
    ]


def documents_of(corpus: Corpus) -> pa.Table:
    """All documents of the first increment."""
    return read_table(corpus.root, corpus.increments()[0].outputs("extract", "documents"))


def test_a_mixture_is_refused_with_what_to_do(upgraded: Corpus) -> None:
    with pytest.raises(DataError, match=r"0001-one \(score 1, now 2\).* Run `outbound corpus score"):
        ingest.extend(upgraded, 1, no_progress)


def test_after_rescore_the_corpus_is_as_if_this_version_had_scored_it(
    upgraded: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    measured = rescore(upgraded, 1, no_progress)
    assert [increment.name for increment in measured] == ["one"]
    fresh = make_corpus(tmp_path_factory.mktemp("fresh"))
    add_pages(fresh, "one", PAGES[:4], parts=2)
    add_pages(fresh, "two", PAGES[4:])
    assert facts(upgraded) == facts(fresh)
    builds = [ingest.extend(corpus, 1, no_progress) for corpus in (upgraded, fresh)]
    assert builds[0].parts("verdicts") == builds[1].parts("verdicts")
    assert list(verify.problems(upgraded)) == []
    assert rescore(upgraded, 1, no_progress) == []
    assert upgraded.has_build


def test_rescore_goes_on_where_it_was_killed(upgraded: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def dies(path: Path, record: Record) -> Record:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return recommit(path, record)

    monkeypatch.setattr("dataprep.store.step.recommit", dies)
    with pytest.raises(KeyboardInterrupt):
        rescore(upgraded, 1, no_progress)
    monkeypatch.undo()
    with pytest.raises(DataError, match="corpus score"):
        ingest.extend(upgraded, 1, no_progress)
    rescore(upgraded, 1, no_progress)
    ingest.extend(upgraded, 1, no_progress)
    assert list(verify.problems(upgraded)) == []


def test_copies_of_a_forgotten_document_stay_dropped_after_another_version_signed_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(tmp_path)
    stem = " ".join(f"word{n}" for n in range(60))
    pages = [(n, f"http://a.test/{n}", f"{stem} and tail {n}") for n in range(2)]
    signatures = minhash._signatures
    with pytest.MonkeyPatch.context() as older:
        older.setattr(minhash, "_signatures", lambda hashes, bounds: ~signatures(hashes, bounds))
        add_pages(corpus, "one", pages)
        key = documents_of(corpus)["url_key"][0]
        forgetting.begin(corpus, Tombstone(url_keys=[key.as_py().hex()]))
        forgetting.finish(corpus, lambda _: None)
    monkeypatch.setattr(minhash, "VERSION", minhash.VERSION + 1)
    rescore(corpus, 1, no_progress)
    build = ingest.extend(corpus, 1, no_progress)
    assert build.parts("verdicts")[0].reasons == {"forgotten": 1, "near_duplicate": 1}
    add_pages(corpus, "two", [(9, "http://a.test/9", f"{stem} and tail 9")])
    build = ingest.extend(corpus, 1, no_progress)
    assert build.parts("verdicts")[1].reasons == {"near_duplicate": 1}

    monkeypatch.setattr(minhash, "SHINGLES", minhash.VERSION)
    with pytest.raises(DataError, match="copies of what was forgotten would come back"):
        rescore(corpus, 1, no_progress)
    assert corpus.has_build


def test_a_forgotten_document_keeps_the_measurements_it_had(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    with pytest.MonkeyPatch.context() as older:
        older.setattr(score, "VERSION", 1)
        add_pages(corpus, "one", PAGES[:2])
    (increment,) = corpus.increments()
    then = read_table(corpus.root, increment.outputs("score", "scores")).to_pylist()
    key = documents_of(corpus)["url_key"][0].as_py()
    forgetting.begin(corpus, Tombstone(url_keys=[key.hex()]))
    forgetting.finish(corpus, lambda _: None)
    assert "" in documents_of(corpus)["text"].to_pylist()
    assert [each.name for each in rescore(corpus, 1, no_progress)] == ["one"]
    assert read_table(corpus.root, increment.outputs("score", "scores")).to_pylist() == then
