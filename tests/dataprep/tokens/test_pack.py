"""Tokenizers in GPT-2's format and token shards that stream, map and grow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ready_corpus import add_pages, make_corpus, no_progress

from dataprep import ingest
from dataprep.corpus import Corpus
from dataprep.errors import DataError
from dataprep.tokens import gpt2_files, tokenizer
from dataprep.tokens.pack import Layout, pack
from dataprep.tokens.train import train

TEXTS = [
    "\n\n".join(f"Page {n}, part {m}: café number {n * m} isn't far; 漢字, emoji 🎈." for m in range(20))
    for n in range(60)
]
LAYOUT = Layout(block_tokens=500, shard_blocks=3, held_out=0.2)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bpe")
    assert train(TEXTS, 400, directory) == 400
    return directory


def built(root: Path, *increments: range) -> Corpus:
    corpus = make_corpus(root, shard_mb=0.03)
    for number, texts in enumerate(increments):
        add_pages(corpus, f"m{number}", [(n, f"http://a.test/{n}", TEXTS[n]) for n in texts], parts=2)
    ingest.extend(corpus, 1, no_progress)
    return corpus


def run(corpus: Corpus, bpe: Path, tokens: Path, layout: Layout = LAYOUT) -> dict[str, Any]:
    return pack(corpus, corpus.current_build(), bpe, tokens, layout, 1, no_progress)


def stream(tokens: Path, manifest: dict[str, Any], split: str) -> list[int]:
    """The token stream of a split, read as the format says."""
    pieces = [
        np.fromfile(tokens / shard["path"], manifest["dtype"], length, offset=offset)
        for shard in manifest["splits"][split]["shards"]
        for offset, length in shard["blocks"]
    ]
    return np.concatenate(pieces).tolist() if pieces else []


def test_ids_are_bytes_then_merges_then_end_of_text(bpe: Path) -> None:
    loaded = tokenizer.load(bpe)
    assert (loaded.vocab_size, loaded.eot) == (400, 399)
    assert loaded.encode("!")[0] == 0
    for text in TEXTS[:3]:
        assert loaded.decode(loaded.encode(text)) == text
        assert len(loaded.encode(text)) < len(text.encode()) / 2


def test_a_tokenizer_that_replaces_another_is_not_mistaken_for_it(tmp_path: Path) -> None:
    for size in (300, 320):
        train(TEXTS, size, tmp_path / "bpe")
        assert tokenizer.load(tmp_path / "bpe").vocab_size == size
        with pytest.raises(DataError, match="holds a tokenizer"):
            train(TEXTS, size, tmp_path / "bpe")
        shutil.rmtree(tmp_path / "bpe")


def test_the_same_ids_come_from_tokenizers(bpe: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer

    merges = bpe / "merges.txt"
    merges.write_text((bpe / gpt2_files.MERGES).read_text())
    other = ByteLevelBPETokenizer(str(bpe / gpt2_files.VOCABULARY), str(merges))
    for text in [*TEXTS[:5], " leading", "trailing  ", "don't\r\n\tstop"]:
        assert other.encode(text).ids == tokenizer.load(bpe).encode(text)


def test_a_tokenizer_whose_files_disagree_is_refused(bpe: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        tokenizer.load(tmp_path)
    (tmp_path / gpt2_files.MERGES).write_text((bpe / gpt2_files.MERGES).read_text())
    (tmp_path / gpt2_files.VOCABULARY).write_text(json.dumps({"a": 0}))
    with pytest.raises(DataError, match="do not agree"):
        tokenizer.load(tmp_path)


def test_every_document_is_in_one_split_followed_by_end_of_text(tmp_path: Path, bpe: Path) -> None:
    manifest = run(built(tmp_path / "c", range(60)), bpe, tmp_path / "t")
    loaded = tokenizer.load(tmp_path / "t" / "tokenizer")
    texts = []
    for split in ("train", "val"):
        ids = stream(tmp_path / "t", manifest, split)
        assert len(ids) == manifest["splits"][split]["tokens"]
        texts += loaded.decode(ids).split(gpt2_files.END_OF_TEXT)[:-1]
    assert sorted(texts) == sorted(TEXTS)
    assert 3 <= manifest["splits"]["val"]["documents"] <= 25


def test_document_starts_point_at_documents(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(60))
    manifest = run(corpus, bpe, tmp_path / "t")
    for shard in manifest["splits"]["train"]["shards"]:
        ids = np.concatenate(
            [np.fromfile(tmp_path / "t" / shard["path"], "<u2", n, offset=o) for o, n in shard["blocks"]]
        )
        starts = np.load(tmp_path / "t" / shard["documents_path"])["start"]
        ends = np.flatnonzero(ids == manifest["tokenizer"]["eot"]) + 1
        inside = ends[ends < len(ids)]
        assert set(inside.tolist()) <= set(starts.tolist())
        assert set(starts.tolist()) - set(inside.tolist()) <= {0}


def test_webdataset_streams_the_same_tokens(tmp_path: Path, bpe: Path) -> None:
    import webdataset

    manifest = run(built(tmp_path / "c", range(60)), bpe, tmp_path / "t")
    urls = [str(tmp_path / "t" / shard["path"]) for shard in manifest["splits"]["train"]["shards"]]
    blocks = [np.frombuffer(s["bin"], "<u2") for s in webdataset.WebDataset(urls, shardshuffle=False)]
    assert np.concatenate(blocks).tolist() == stream(tmp_path / "t", manifest, "train")


def test_the_next_generation_adds_and_changes_nothing(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(30))
    first = run(corpus, bpe, tmp_path / "t")
    assert run(corpus, bpe, tmp_path / "t") == first
    add_pages(corpus, "later", [(n, f"http://a.test/{n}", TEXTS[n]) for n in range(30, 60)])
    ingest.extend(corpus, 1, no_progress)
    second = run(corpus, bpe, tmp_path / "t")
    assert second["generation"] == 2
    assert json.loads((tmp_path / "t" / "generation-1.json").read_text()) == first
    for split in ("train", "val"):
        old = stream(tmp_path / "t", first, split)
        assert stream(tmp_path / "t", second, split)[: len(old)] == old


def test_the_same_build_packs_to_the_same_bytes(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(60))
    one, other = run(corpus, bpe, tmp_path / "t1"), run(corpus, bpe, tmp_path / "t2")
    assert one == other


def test_another_corpus_of_the_same_recipe_is_not_mixed_in(tmp_path: Path, bpe: Path) -> None:
    run(built(tmp_path / "c", range(20)), bpe, tmp_path / "t")
    with pytest.raises(DataError, match="increment 0001 is not that of"):
        run(built(tmp_path / "other", range(20, 40)), bpe, tmp_path / "t")


def test_a_page_of_white_space_alone_can_be_tokenised(bpe: Path) -> None:
    loaded = tokenizer.load(bpe)
    text = "so" + " \n" * 1_000_000 + "much room"
    assert loaded.decode(loaded.encode(text)) == text


def test_an_increment_that_is_being_sharded_is_not_packed_in_part(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(20), range(20, 60))
    record = corpus.current_build().path / "text" / "0002-00001.json"
    later = record.read_bytes()
    record.unlink()  # as a kill in the middle of `corpus add` leaves it
    first = run(corpus, bpe, tmp_path / "t")
    assert list(first["increments"]) == ["0001"]
    record.write_bytes(later)
    second = run(corpus, bpe, tmp_path / "t")
    assert sum(split["documents"] for split in second["splits"].values()) == 60


def test_nothing_to_pack_is_said(tmp_path: Path, bpe: Path) -> None:
    with pytest.raises(DataError, match="keeps no document"):
        run(built(tmp_path / "c", range(0)), bpe, tmp_path / "t")


def test_another_tokenizer_or_layout_needs_another_directory(tmp_path: Path, bpe: Path) -> None:
    corpus = built(tmp_path / "c", range(20))
    run(corpus, bpe, tmp_path / "t")
    with pytest.raises(DataError, match="block_tokens 500, not 600"):
        run(corpus, bpe, tmp_path / "t", Layout(block_tokens=600, held_out=0.2))
