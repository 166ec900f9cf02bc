"""Byte-level BPE in GPT-2's file format: trained with tokenizers, encoded with tiktoken.

A tokenizer is a directory of two files: `vocab.bpe`, one merge a line in order of rank, and `encoder.json`,
token to id (Radford et al. 2019, section 2.2). Ids are the 256 bytes in GPT-2's order, the merges by rank,
and last `<|endoftext|>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from dataprep.errors import DataError

if TYPE_CHECKING:
    import tiktoken

END_OF_TEXT = "<|endoftext|>"
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""GPT-2's pre-tokenizer."""
LONGEST_SPACE = 10_000
MERGES, VOCABULARY = "vocab.bpe", "encoder.json"


_LONG_SPACE = re.compile(rf"\s{{{LONGEST_SPACE}}}")


@dataclass(frozen=True)
class Tokenizer:
    """A loaded tokenizer; `eot` is the id of `<|endoftext|>`, the last one."""

    encoding: tiktoken.Encoding
    fingerprint: str

    @property
    def vocab_size(self) -> int:
        return self.encoding.n_vocab

    @property
    def eot(self) -> int:
        return self.encoding.eot_token

    def encode(self, text: str) -> list[int]:
        """Ids of a text, in which special tokens are ordinary text.

        White space of over LONGEST_SPACE characters is cut there: the pattern's look-ahead would overflow.
        """
        ids: list[int] = []
        start = 0
        for space in _LONG_SPACE.finditer(text):
            ids += self.encoding.encode_ordinary(text[start : space.end()])
            start = space.end()
        return ids + self.encoding.encode_ordinary(text[start:])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not UTF-8 become replacement characters."""
        return self.encoding.decode(list(ids))


def train(texts: Iterable[str], vocab_size: int, directory: Path) -> int:
    """Train on texts and write the two files; returns the size reached.

    The size is smaller than asked for when the texts do not hold enough pairs. Raises DataError when it is
    too small to hold the bytes.
    """
    from tokenizers import Tokenizer as Model
    from tokenizers import models, pre_tokenizers, trainers

    if (directory / MERGES).exists():
        raise DataError(f"{directory}: holds a tokenizer; choose another directory, or remove it first")
    if vocab_size < 257:
        raise DataError(f"--vocab-size {vocab_size}: at least 257, the bytes and {END_OF_TEXT}")
    model = Model(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    if model.get_vocab_size() < 257:
        raise DataError("no text to train a tokenizer on; finish an increment of the corpus first")
    merges: dict[str, str] = {}
    for pair in json.loads(model.to_str())["model"]["merges"]:
        merges.setdefault("".join(pair), " ".join(pair))  # should two merges make one token, it has one id
    tokens = [*_byte_symbols(), *merges, END_OF_TEXT]
    directory.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2", *merges.values(), ""]
    (directory / MERGES).write_text("\n".join(lines), encoding="utf-8")
    vocabulary = {token: rank for rank, token in enumerate(tokens)}
    (directory / VOCABULARY).write_text(json.dumps(vocabulary), encoding="utf-8")
    return len(tokens)


def load(directory: Path) -> Tokenizer:
    """Load a tokenizer; raises DataError when its files are missing or do not agree."""
    import tiktoken

    merges, vocabulary = directory / MERGES, directory / VOCABULARY
    for path in (merges, vocabulary):
        if not path.is_file():
            raise DataError(f"{path}: missing; make a tokenizer with `outbound tokenizer train`")
    try:
        tokens = [*_byte_symbols(), *_merged(merges)]
        ids = json.loads(vocabulary.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{directory}: {MERGES} or {VOCABULARY} is damaged ({error})") from None
    if ids != {token: rank for rank, token in enumerate([*tokens, END_OF_TEXT])}:
        raise DataError(f"{directory}: {MERGES} and {VOCABULARY} do not agree; train or copy both again")
    # Not by tiktoken.load: it caches files by their names, and gives the old ones back when they changed.
    byte_of = dict(zip(_byte_symbols(), _bytes(), strict=True))
    try:
        ranks = {bytes(byte_of[symbol] for symbol in token): rank for rank, token in enumerate(tokens)}
    except KeyError as symbol:
        raise DataError(f"{directory}: {symbol} stands for no byte in GPT-2's file format") from None
    digest = xxhash.xxh3_128(merges.read_bytes() + vocabulary.read_bytes()).hexdigest()
    encoding = tiktoken.Encoding(
        name=f"outbound-{digest[:8]}",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
    )
    return Tokenizer(encoding, digest)


def _merged(merges: Path) -> list[str]:
    """What each line of `vocab.bpe` makes, in order."""
    lines = merges.read_text(encoding="utf-8").split("\n")[1:]  # the first line is a version
    return ["".join(line.split(" ")) for line in lines if line]


def _bytes() -> list[int]:
    """The 256 bytes in the order of their ids: printable ones first."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    return printable + [byte for byte in range(256) if byte not in printable]


def _byte_symbols() -> list[str]:
    """The characters that stand for `_bytes()` in GPT-2's files: themselves, or shifted above 255."""
    shifted = iter(range(256, 512))
    return [chr(byte) if place < 188 else chr(next(shifted)) for place, byte in enumerate(_bytes())]
