"""The published vocabularies on real text in many languages: the ids are those that everyone else gives."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dataprep import ingest
from dataprep.pack.packing import Layout
from dataprep.tokenizer import tokenizer
from support.packed_corpus import run, stream
from support.ready_corpus import add_pages, make_corpus, no_progress

pytestmark = pytest.mark.slow(10)


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    """A novel, translated news, and from all over a crawl what its pages were, in 10,000 characters each."""
    novel = gzip.decompress((data / "text/novels/Stevenson_Treasure_1883.txt.gz").read_bytes())
    news = [(data / "evals" / f"newstest2013.{language}").read_bytes() for language in ("eng", "fra")]
    with gzip.open(data / "web/pages.warc.gz") as file:
        pages = [file.read(1_000_000)[:10_000] for _ in range(100)]
    found = [content.decode("utf-8", "replace") for content in (novel[:500_000], *news, *pages)]
    return [text[at : at + 10_000] for text in found for at in range(0, len(text), 10_000)]


def test_gpt2s_vocabulary_gives_the_ids_of_hf(data: Path, texts: list[str]) -> None:
    from tokenizers import Tokenizer

    loaded = tokenizer.load(data / "gpt2-bpe")
    assert loaded.encode("Hello world") == [15496, 995]
    assert (loaded.vocab_size, loaded.eot) == (50257, 50256)
    other = Tokenizer.from_str(loaded.huggingface())
    assert len(texts) > 200
    for text, encoded in zip(texts, other.encode_batch(texts), strict=True):
        assert loaded.encode(text) == encoded.ids
        assert loaded.decode(encoded.ids) == text


def test_gpt1s_vocabulary_gives_the_ids_of_transformers(data: Path, texts: list[str]) -> None:
    from transformers import OpenAIGPTTokenizer

    directory = data / "gpt1-bpe"
    loaded = tokenizer.load(directory)
    assert (loaded.vocab_size, loaded.eot) == (40478, 40477)
    other = OpenAIGPTTokenizer(
        vocab=str(directory / "encoder_bpe_40000.json"), merges=str(directory / "vocab_40000.bpe")
    )
    for text in texts[::2]:
        ids = loaded.encode(text)
        assert ids == other.encode(text)
        assert loaded.eot not in ids
    assert loaded.decode(loaded.encode("Once upon a Time")) == "once upon a time"


@pytest.mark.parametrize("vocabulary", ["gpt2-bpe", "gpt1-bpe"])
def test_a_corpus_is_packed_with_a_published_vocabulary(
    data: Path, texts: list[str], tmp_path: Path, vocabulary: str
) -> None:
    corpus = make_corpus(tmp_path / "c")
    pages = {f"http://a.test/{n}": text for n, text in enumerate(texts[:40])}
    add_pages(corpus, "one", [(n, url, text) for n, (url, text) in enumerate(pages.items())])
    ingest.extend(corpus, 1, no_progress)
    manifest = run(corpus, data / vocabulary, tmp_path / "t", Layout(held_out=0.2))
    loaded = tokenizer.load(tmp_path / "t" / "tokenizer")
    assert loaded.fingerprint == tokenizer.load(data / vocabulary).fingerprint
    ids = [each for split in ("train", "val") for each in stream(tmp_path / "t", manifest, split)]
    assert ids.count(loaded.eot) == 40
    assert sorted(ids) == sorted(each for text in texts[:40] for each in [*loaded.encode(text), loaded.eot])
