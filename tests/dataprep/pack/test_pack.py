"""Token shards that stream, map and grow, whatever stops the pack."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import xxhash

from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack import merge, pack, tokenize
from dataprep.pack.manifest import Generation, Split, latest_generation, read_table
from dataprep.pack.packing import Layout
from dataprep.store.os_errors import explain_full_disk
from dataprep.store.records import step_path
from dataprep.tokenizer import gpt2_files, tokenizer
from support.cli import result
from support.cli import run as outbound
from support.kills import die_before, killed
from support.packed_corpus import TEXTS, built, run, stream
from support.ready_corpus import add_pages, no_progress


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """All texts in two increments of two text shards each. Left as it is."""
    return built(tmp_path_factory.mktemp("corpus"), range(30), range(30, 60))


@pytest.fixture(scope="module")
def packed(corpus: Corpus, bpe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tokens, packed by one process in one go. Left as they are."""
    tokens = tmp_path_factory.mktemp("tokens")
    run(corpus, bpe, tokens)
    return tokens


def newest(tokens: Path) -> Generation:
    generation = latest_generation(tokens)
    assert generation
    return generation


def content(tokens: Path) -> dict[str, bytes]:
    """Every file of a token directory."""
    return {str(path.relative_to(tokens)): path.read_bytes() for path in tokens.rglob("*") if path.is_file()}


def test_a_stream_is_the_documents_of_each_increment_by_the_hash_of_their_doc_ids(
    packed: Path, bpe: Path
) -> None:
    loaded = tokenizer.load(bpe)
    expected: dict[str, list[int]] = {"train": [], "val": []}
    for texts in (range(30), range(30, 60)):
        documents = []
        for number in texts:
            url, text = f"http://a.test/{number}", TEXTS[number]
            doc_id = xxhash.xxh3_128_digest(f"{url}\0{text}".encode())
            split = "val" if xxhash.xxh3_128_digest(url.encode()) < b"\x33" * 16 else "train"
            documents.append((xxhash.xxh3_64_intdigest(doc_id, tokenize.SHUFFLE_SEED), text, split))
        for _, text, split in sorted(documents):
            expected[split] += [*loaded.encode(text), loaded.eot]
    for split, ids in expected.items():
        assert stream(packed, newest(packed), split) == ids
        assert newest(packed).splits[split].tokens == len(ids) > 1000


@pytest.mark.slow(2)
def test_any_number_of_processes_and_buckets_makes_the_same_bytes(
    corpus: Corpus, packed: Path, bpe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(merge, "BUCKET_TOKENS", 300)
    run(corpus, bpe, tmp_path, workers=2)
    assert content(tmp_path) == content(packed)


def test_document_starts_point_at_documents(packed: Path) -> None:
    generation = newest(packed)
    for shard in generation.splits["train"].shards:
        ids = np.concatenate(
            [np.fromfile(packed / shard.tar.path, "<u2", n, offset=o) for o, n in shard.blocks]
        )
        starts = read_table(packed, shard)["start"]
        ends = np.flatnonzero(ids == generation.tokenizer.eot) + 1
        inside = ends[ends < len(ids)]
        assert set(inside.tolist()) <= set(starts.tolist())
        assert set(starts.tolist()) - set(inside.tolist()) <= {0}


def test_webdataset_streams_the_same_tokens(packed: Path) -> None:
    import webdataset

    generation = newest(packed)
    urls = [str(packed / shard.tar.path) for shard in generation.splits["train"].shards]
    assert len(urls) > 3
    blocks = [np.frombuffer(s["bin"], "<u2") for s in webdataset.WebDataset(urls, shardshuffle=False)]
    assert np.concatenate(blocks).tolist() == stream(packed, generation, "train")


def test_the_unigram_entropy_is_that_of_the_stream(packed: Path) -> None:
    generation = newest(packed)
    for split, body in generation.splits.items():
        counts = np.bincount(stream(packed, generation, split))
        share = counts[counts > 0] / counts.sum()
        assert body.unigram_entropy_nats == pytest.approx(-(share * np.log(share)).sum())


@pytest.mark.slow(3)
@pytest.mark.parametrize("step", [1, 5])
def test_a_pack_that_is_killed_anywhere_is_finished_by_the_next(
    corpus: Corpus, packed: Path, bpe: Path, tmp_path: Path, step: int
) -> None:
    def pack_until(call: int) -> None:
        die_before(call, os, "replace", "link", "unlink")
        run(corpus, bpe, tmp_path)

    kills = 0
    while killed(pack_until, 1 + kills * step):
        kills += 1
    assert kills > 3
    assert content(tmp_path) == content(packed)


@pytest.mark.slow(1)
@pytest.mark.parametrize("room", [700, 2500, 6000])
def test_a_file_that_finds_no_room_is_an_error_and_loses_nothing(
    corpus: Corpus, packed: Path, bpe: Path, tmp_path: Path, room: int
) -> None:
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            run(corpus, bpe, tmp_path)
        except (DataError, OSError) as error:  # the command line tells of an OSError as `full` does
            told = explain_full_disk(error) if isinstance(error, OSError) else error
            os._exit(7 if "make room and run the same command again" in str(told) else 8)
        os._exit(0)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 7
    run(corpus, bpe, tmp_path)
    assert content(tmp_path) == content(packed)


def test_the_next_generation_adds_and_reads_no_old_shard(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(30))
    first = run(corpus, bpe, tmp_path / "t")
    assert run(corpus, bpe, tmp_path / "t") == first
    manifest = (tmp_path / "t" / "generation-1.json").read_bytes()
    old = {path: path.rename(path.with_suffix(".away")) for path in (tmp_path / "t").glob("*.tar")}
    add_pages(corpus, "later", [(n, f"http://a.test/{n}", TEXTS[n]) for n in range(30, 60)])
    ingest.extend(corpus, 1, no_progress)
    (tmp_path / "t" / "tokenizer" / "vocab.bpe").touch()
    second = run(corpus, bpe, tmp_path / "t")
    assert second.number == 2
    for path in old:
        assert not path.exists()
    assert (tmp_path / "t" / "generation-1.json").read_bytes() == manifest
    for split in ("train", "val"):
        old_shards = first.splits[split].shards
        assert second.splits[split].shards[: len(old_shards)] == old_shards


@pytest.mark.slow(1)
def test_a_later_pack_keeps_the_options_of_the_first_also_of_one_that_was_killed(
    tmp_path: Path, bpe: Path
) -> None:
    corpus, tokens = built(tmp_path / "c", range(30)), tmp_path / "t"
    options = ("--tokenizer", bpe, "-o", tokens, "--workers", 1)

    def pack_until(call: int) -> None:
        die_before(call, os, "link")
        result("pack", corpus.root, *options, "--held-out", 0.2, "--block-tokens", 500, "--shard-blocks", 3)

    assert killed(pack_until, 6)
    assert not (tokens / "generation-1.json").exists()
    result("pack", corpus.root, *options)
    assert content(tokens) == content(packed_alone(corpus, bpe, tmp_path / "alone"))
    add_pages(corpus, "later", [(n, f"http://a.test/{n}", TEXTS[n]) for n in range(30, 60)])
    ingest.extend(corpus, 1, no_progress)
    assert result("pack", corpus.root, *options)["generation"] == 2
    assert (newest(tokens).held_out, newest(tokens).block_tokens) == (0.2, 500)
    refused = outbound("pack", corpus.root, *options, "--held-out", 0.3)
    assert "holds held_out 0.2, not held_out 0.3; choose another directory" in refused.stderr


def packed_alone(corpus: Corpus, bpe: Path, tokens: Path) -> Path:
    result(
        *("pack", corpus.root, "--tokenizer", bpe, "-o", tokens),
        *("--held-out", 0.2, "--block-tokens", 500, "--shard-blocks", 3),
    )
    return tokens


@pytest.mark.slow(1)
def test_an_empty_document_and_one_longer_than_a_bucket_and_a_shard_are_packed(
    tmp_path: Path, bpe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "BUCKET_TOKENS", 100)
    from support.ready_corpus import make_corpus

    corpus = make_corpus(tmp_path / "c")
    texts = ["x", " ".join(f"word{n}" for n in range(20_000)), "y"]
    add_pages(corpus, "one", [(n, f"http://a.test/{n}", text) for n, text in enumerate(texts)])
    ingest.extend(corpus, 1, no_progress)
    generation = run(corpus, bpe, tmp_path / "t", Layout(block_tokens=1000, shard_blocks=2, held_out=0))
    ids = stream(tmp_path / "t", generation, "train")
    assert sorted(tokenizer.load(bpe).decode(ids).split(gpt2_files.END_OF_TEXT)[:-1]) == sorted(texts)
    assert generation.splits["val"] == Split(shards=[], tokens=0, documents=0, unigram_entropy_nats=0.0)


@pytest.mark.slow(3)
def test_over_65536_ids_take_four_bytes_each(corpus: Corpus, tmp_path: Path) -> None:
    symbols = gpt2_files.byte_symbols()
    gpt2_files.write(tmp_path / "bpe", [f"{left} {right}" for left in symbols for right in symbols])
    generation = run(corpus, tmp_path / "bpe", tmp_path / "t")
    assert (generation.dtype, generation.tokenizer.vocab_size) == ("<u4", 256 + 65536 + 1)
    loaded = tokenizer.load(tmp_path / "bpe")
    texts = loaded.decode(stream(tmp_path / "t", generation, "train")).split(gpt2_files.END_OF_TEXT)[:-1]
    assert set(texts) < set(TEXTS)
    assert len(texts) == generation.splits["train"].documents


def test_another_corpus_of_the_same_recipe_is_not_mixed_in(tmp_path: Path, bpe: Path) -> None:
    run(built(tmp_path / "c", range(20)), bpe, tmp_path / "t")
    with pytest.raises(DataError, match="increment 0001 is not that of"):
        run(built(tmp_path / "other", range(20, 40)), bpe, tmp_path / "t")


@pytest.mark.slow(1)
def test_an_increment_that_is_being_sharded_is_not_packed_in_part(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(20), range(20, 60))
    path = step_path(corpus.current_build().of(corpus.increments()[1]), "shard")
    later = path.read_bytes()
    path.unlink()  # as a kill in the middle of `corpus add` leaves it
    first = run(corpus, bpe, tmp_path / "t")
    assert list(first.increments) == ["0001"]
    path.write_bytes(later)
    second = run(corpus, bpe, tmp_path / "t")
    assert sum(split.documents for split in second.splits.values()) == 60


def test_nothing_to_pack_is_said(tmp_path: Path, bpe: Path) -> None:
    with pytest.raises(DataError, match="keeps no document"):
        run(built(tmp_path / "c", range(0)), bpe, tmp_path / "t")


def test_another_tokenizer_or_layout_needs_another_directory(packed: Path, corpus: Corpus, bpe: Path) -> None:
    before = content(packed)
    with pytest.raises(DataError, match="block_tokens 500, not block_tokens 600"):
        run(corpus, bpe, packed, Layout(block_tokens=600, held_out=0.2))
    assert content(packed) == before


def test_a_text_shard_that_its_index_does_not_fit_is_named(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(20))
    tar = next(corpus.current_build().path.glob("*/shard/*.tar"))
    whole = tar.read_bytes()
    for damaged in (whole[:-15000], whole[512:] + bytes(512)):
        tar.write_bytes(damaged)
        with pytest.raises(DataError, match=tar.name):
            run(corpus, bpe, tmp_path / "t")
    tar.write_bytes(whole)
    assert run(corpus, bpe, tmp_path / "t").number == 1
