"""Training a tokenizer on a sample of a corpus: byte-level BPE in GPT-2's file format.

The sample is chosen by a hash of doc_id, so that the same corpus gives the same files. Memory: the distinct
words of the sample, with their counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import xxhash

from dataprep.corpus.directory import Build, Corpus
from dataprep.errors import DataError
from dataprep.shards import text_shards
from dataprep.store.files import replace
from dataprep.tokenizer import gpt2_files
from dataprep.tokenizer.tokenizer import HUGGINGFACE

SAMPLE_SEED = 2
LONGEST_WORD = 1000
"""Characters after which a word is cut: a merge takes time in proportion to the word's length, so that one of
300,000 letters, such as a gene, would take minutes."""
_LONG_WORD = re.compile(r"[^\W_]{N}|(?:[^\w\s]|_){N}|\s{N}".replace("N", str(LONGEST_WORD)))
"""GPT-2's pre-tokenizer keeps such characters together; letters and digits each with their own kind."""
_LONG_SPACE = re.compile(rf"\s{{{LONGEST_WORD}}}")


def sample(corpus: Corpus, build: Build, sample_bytes: int, tick: Callable[[int], None]) -> Iterator[str]:
    """Texts of a build's documents, in order, about `sample_bytes` of them in UTF-8.

    A document is in when the hash of its doc_id is below the share that the sample is of all texts.
    """
    shards = text_shards.shards(build)
    whole = sum(text_shards.text_bytes(corpus.root, shard) for shard in shards)
    bound = int(min(1, sample_bytes / max(1, whole)) * 2**64)

    def wanted(doc_id: bytes) -> bool:
        tick(1)
        return xxhash.xxh3_64_intdigest(doc_id, SAMPLE_SEED) < bound

    for shard in shards:
        for _, _, text in text_shards.read_texts(corpus.root, shard, wanted):
            yield text


def train(texts: Iterable[str], vocab_size: int, directory: Path) -> int:
    """Train on texts and write the files; returns the size reached.

    The size is smaller than asked for when the texts do not hold enough pairs. Raises DataError when it is
    too small to hold the bytes.
    """
    from tokenizers import Tokenizer as Model
    from tokenizers import models, pre_tokenizers, trainers

    if (directory / gpt2_files.MERGES).exists():
        raise DataError(f"{directory}: holds a tokenizer; choose another directory, or remove it first")
    if vocab_size < 257:
        raise DataError(f"--vocab-size {vocab_size}: at least 257, the bytes and {gpt2_files.END_OF_TEXT}")
    model = Model(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator((piece for text in texts for piece in pieces(text)), trainer)
    merges = [" ".join(pair) for pair in json.loads(model.to_str())["model"]["merges"]]
    if not merges:
        raise DataError(
            "no text to train a tokenizer on; `outbound corpus status` says what the build keeps: add more, "
            "select less strictly, or draw a larger --sample-mb"
        )
    tokenizer_json = gpt2_files.model_of(merges).to_str()
    gpt2_files.write(directory, merges)
    replace(directory / HUGGINGFACE, tokenizer_json.encode())
    return len(gpt2_files.vocabulary_of(merges))


def pieces(text: str) -> Iterator[str]:
    """A text, cut where a word is longer than LONGEST_WORD: ordinary text has none, and stays whole."""
    start = 0
    if max(map(len, text.split()), default=0) >= LONGEST_WORD or _LONG_SPACE.search(text):
        for word in _LONG_WORD.finditer(text):
            yield text[start : word.end()]
            start = word.end()
    yield text[start:]
