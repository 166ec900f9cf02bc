"""From a token to its document and back, and what is left when a document is forgotten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataprep import ingest
from dataprep.corpus.tombstones import Tombstone
from dataprep.errors import DataError
from dataprep.forget import run as forget_in_corpus
from dataprep.pack import positions
from dataprep.pack.forget import erase, forget
from dataprep.pack.manifest import Generation, entropy, latest_generation, unnamed
from dataprep.pack.packing import Layout
from dataprep.pack.verify import problems
from dataprep.store.checksummed_json import dump
from dataprep.store.files import read_table
from dataprep.tokenizer import tokenizer
from pipeline.data.token_stream import TokenStream, load_generation, verify
from support.kills import die_before, killed
from support.packed_corpus import TEXTS, built, run, stream
from support.ready_corpus import add_pages, no_progress

LONG = Layout(block_tokens=150, shard_blocks=1, held_out=0.2)
"""Shards that are shorter than documents, so that some hold no beginning."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, bpe: Path) -> Path:
    """Two generations of tokens."""
    root = tmp_path_factory.mktemp("packed")
    corpus = built(root / "c", range(20))
    run(corpus, bpe, root / "t", LONG)
    corpus = built(root / "both", range(20), range(20, 40))
    second = run(corpus, bpe, root / "t", LONG)
    assert second.number == 2
    return root / "t"


def ids_of(tokens: Path) -> tuple[Generation, dict[str, list[int]]]:
    generation = latest_generation(tokens)
    assert generation
    return generation, {split: stream(tokens, generation, split) for split in generation.splits}


@pytest.mark.slow(2)
def test_every_token_knows_its_document_and_every_document_its_tokens(packed: Path) -> None:
    generation, streams = ids_of(packed)
    loaded = tokenizer.load(packed / "tokenizer")
    found = []
    for split, ids in streams.items():
        position = 0
        while position < len(ids):
            span = positions.document_at(packed, generation, split, position)
            assert span.start == position
            assert ids.index(loaded.eot, position) == span.end - 1
            for inside in (position + 1, (span.start + span.end) // 2, span.end - 1):
                assert positions.document_at(packed, generation, split, inside) == span
            assert positions.places_of(packed, generation, span.doc_id) == [span]
            found.append(loaded.decode(ids[span.start : span.end - 1]))
            position = span.end
    assert sorted(found) == sorted(TEXTS[:40])


@pytest.mark.slow(2)
@pytest.mark.parametrize("position", [-1, 10**9])
def test_a_position_outside_the_stream_is_refused(packed: Path, position: int) -> None:
    generation, _ = ids_of(packed)
    with pytest.raises(DataError, match=f"--position {position}: train in"):
        positions.document_at(packed, generation, "train", position)
    with pytest.raises(DataError, match="--split test"):
        positions.document_at(packed, generation, "test", 0)


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(packed, tmp_path / "t")


@pytest.mark.slow(2)
def test_an_erased_document_is_end_of_text_and_all_else_stays_in_place(copy: Path) -> None:
    generation, before = ids_of(copy)
    pins = {number: load_generation(copy, number).fingerprint for number in (1, 2)}
    eot = generation.tokenizer.eot
    spans = [
        positions.document_at(copy, generation, split, at) for split, at in (("train", 0), ("train", 4000))
    ]
    spans.append(positions.document_at(copy, generation, "val", len(before["val"]) - 1))
    doc_ids = {span.doc_id for span in spans}
    assert erase(copy, doc_ids, {"0001": "new"}) == 3

    erased, after = ids_of(copy)
    counts = {split: np.bincount(ids, minlength=400) for split, ids in before.items()}
    for span in spans:
        counts[span.split] -= np.bincount(before[span.split][span.start : span.end], minlength=400)
        before[span.split][span.start : span.end] = [eot] * (span.end - span.start)
    assert after == before
    assert erased.increments["0001"] == "new"
    assert sum(split.documents for split in erased.splits.values()) == 37
    for split in after:
        assert erased.splits[split].unigram_entropy_nats == entropy(counts[split]), "of what counts in a loss"
    for number, fingerprint in pins.items():
        pinned = load_generation(copy, number)
        assert pinned.fingerprint == fingerprint
        for split in ("train", "val"):
            length = pinned.splits[split].tokens
            for shard in pinned.splits[split].shards:
                verify(pinned, shard)
            assert TokenStream(pinned, split).slice(0, length).tolist() == after[split][:length]
    for doc_id in doc_ids:
        assert positions.places_of(copy, erased, doc_id) == []
        assert not [path for path in copy.iterdir() if path.is_file() and doc_id in path.read_bytes()]
    assert unnamed(copy) == []
    state = {path: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    assert erase(copy, doc_ids, {}) == 0
    assert {path: path.read_bytes() for path in copy.iterdir() if path.is_file()} == state


@pytest.mark.slow(3)
def test_an_erasure_that_is_killed_anywhere_is_finished_by_another(copy: Path, tmp_path: Path) -> None:
    generation, _ = ids_of(copy)
    doc_ids = {positions.document_at(copy, generation, "train", at).doc_id for at in (0, 2000, 5000)}
    whole = shutil.copytree(copy, tmp_path / "whole")
    erase(whole, doc_ids, {})
    expected = {path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()}

    def erase_until(call: int) -> None:
        die_before(call, os, "replace", "unlink")
        erase(copy, doc_ids, {})

    kills = 0
    while killed(erase_until, kills + 1):
        kills += 1
        for number in (1, 2):  # whatever stands, a run can read
            pinned = load_generation(copy, number)
            for shard in pinned.splits["train"].shards:
                verify(pinned, shard)
    assert kills > 5
    assert {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()} == expected


@pytest.mark.slow(1)
def test_a_table_that_cannot_be_read_is_named(copy: Path) -> None:
    generation, _ = ids_of(copy)
    path = copy / generation.splits["train"].shards[0].table.path
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=path.name):
        positions.document_at(copy, generation, "train", 0)
    (copy / "generation-2.json").write_bytes(dump({"format": "outbound-tokens/1"}))
    with pytest.raises(DataError, match="format 'outbound-tokens/1'"):
        latest_generation(copy)


@pytest.mark.slow(1)
@pytest.mark.parametrize("build_is_gone", [False, True])
def test_what_the_corpus_forgets_goes_from_its_tokens_also_when_their_build_is_gone(
    tmp_path: Path, bpe: Path, build_is_gone: bool
) -> None:
    corpus, tokens = built(tmp_path / "c", range(6)), tmp_path / "t"
    run(corpus, bpe, tokens)
    increment = corpus.increments()[0]
    row = read_table(corpus.root, increment.outputs("extract", "documents")).slice(0, 1).to_pylist()[0]
    forget_in_corpus.begin(corpus, Tombstone(url_keys=[row["url_key"].hex()]))
    forget_in_corpus.finish(corpus, lambda _: None)
    if build_is_gone:
        shutil.rmtree(corpus.root / "builds")
    assert forget(corpus, tokens) == 1
    assert forget(corpus, tokens) == 0
    assert list(problems(corpus, tokens)) == []
    (tokens / ids_of(tokens)[0].splits["train"].shards[0].counts.path).write_bytes(b"")
    assert "content has changed" in "".join(problems(corpus, tokens))
    with pytest.raises(DataError, match="packed from another corpus"):
        forget(built(tmp_path / "other", range(20, 23)), tokens)


@pytest.mark.slow(1)
def test_a_build_that_is_made_anew_after_a_forget_goes_on_in_its_token_directory(
    tmp_path: Path, bpe: Path
) -> None:
    """Its tars may be cut otherwise; pack says what to run, and nothing is packed twice."""
    corpus, tokens = built(tmp_path / "c", range(6)), tmp_path / "t"
    run(corpus, bpe, tokens)
    outputs = corpus.increments()[0].outputs("extract", "documents")
    row = read_table(corpus.root, outputs).slice(0, 1).to_pylist()[0]
    forget_in_corpus.begin(corpus, Tombstone(url_keys=[row["url_key"].hex()]))
    forget_in_corpus.finish(corpus, lambda _: None)
    shutil.rmtree(corpus.root / "builds")
    ingest.extend(corpus, 1, no_progress)
    with pytest.raises(DataError, match=r"run `outbound corpus forget \S+ --tokens"):
        run(corpus, bpe, tokens)
    assert forget(corpus, tokens) == 1
    add_pages(corpus, "more", [(99, "http://a.test/99", TEXTS[50])])
    ingest.extend(corpus, 1, no_progress)
    assert run(corpus, bpe, tokens).number == 2
    assert list(problems(corpus, tokens)) == []
