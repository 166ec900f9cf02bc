"""GPT-2's file format: `vocab.bpe`, one merge a line in order of rank, and `encoder.json`, token to id.

Radford et al. 2019, section 2.2. Bytes are written as printable characters. Ids are the 256 bytes in GPT-2's
order, the merges by rank, and last `<|endoftext|>`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dataprep.errors import DataError
from dataprep.store.files import replace

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Model

MERGES, VOCABULARY = FILES = ("vocab.bpe", "encoder.json")
END_OF_TEXT = "<|endoftext|>"


def write(directory: Path, merges: list[str]) -> None:
    """Write the two files of a tokenizer with these merges ("a b"), in order of rank."""
    directory.mkdir(parents=True, exist_ok=True)
    ids = {token: rank for rank, token in enumerate(vocabulary_of(merges))}
    replace(directory / VOCABULARY, json.dumps(ids).encode())
    replace(directory / MERGES, "\n".join(["#version: 0.2", *merges, ""]).encode())


def read(directory: Path) -> list[str]:
    """The merges of a tokenizer. Raises DataError when its two files are damaged or do not agree."""
    try:
        lines = (directory / MERGES).read_text(encoding="utf-8").split("\n")
        ids = json.loads((directory / VOCABULARY).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{directory}: {MERGES} or {VOCABULARY} is damaged ({error}); train or copy both again"
        ) from None
    merges = [line for line in lines[1:] if line]  # the first line is a version
    for merge in merges:
        if len(merge.split(" ")) != 2 or not set(merge) <= _SYMBOLS:
            raise DataError(
                f"{directory / MERGES}: {merge!r} is no merge of GPT-2's file format; train or copy it again"
            )
    if ids != {token: rank for rank, token in enumerate(vocabulary_of(merges))}:
        raise DataError(f"{directory}: {MERGES} and {VOCABULARY} do not agree; train or copy both again")
    return merges


def vocabulary_of(merges: list[str]) -> list[str]:
    """All tokens in the order of their ids. Raises DataError when two merges make the same one."""
    tokens = [*byte_symbols(), *(merge.replace(" ", "") for merge in merges), END_OF_TEXT]
    if len(set(tokens)) < len(tokens):
        twice = [token for token, times in Counter(tokens).items() if times > 1]
        raise DataError(f"{', '.join(map(repr, twice[:5]))}: made by two merges, so that its id is not one")
    return tokens


def model_of(merges: list[str]) -> Model:
    """The same tokenizer for HF's library, of which `to_str()` is a `tokenizer.json`.

    GPT-2's and HF's BPE merge the pairs that are listed, tiktoken any neighbours that make a token. They give
    the same ids for every text if, and only if, the bytes of every token end as that token: should neighbours
    x, y come to stand where the list has no pair (x, y) but the vocabulary a token xy, then the list also
    stops at x, y when it is given the bytes of xy alone. Raises DataError when they would differ.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    ids = {token: rank for rank, token in enumerate(vocabulary_of(merges))}
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    model = Tokenizer(models.BPE(ids, pairs))
    for merge in merges:
        token = merge.replace(" ", "")
        made = [piece.value for piece in model.model.tokenize(token)]
        if made != [token]:
            raise DataError(
                f"the merge {merge!r} never makes its token, whose bytes end as {made}: tiktoken and HF "
                "tokenizers would give different ids; use another tokenizer, or train on other text"
            )
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.post_processor = processors.ByteLevel(trim_offsets=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return model


def ranks(merges: list[str]) -> dict[bytes, int]:
    """Bytes of each token to its id, without `<|endoftext|>`: what tiktoken wants."""
    byte_of = dict(zip(byte_symbols(), bytes_by_id(), strict=True))
    tokens = vocabulary_of(merges)[:-1]
    return {bytes(byte_of[symbol] for symbol in token): rank for rank, token in enumerate(tokens)}


def byte_symbols() -> list[str]:
    """The characters that stand for the 256 bytes, by id: themselves, or shifted above 255."""
    shifted = iter(range(256, 512))
    return [chr(byte) if place < 188 else chr(next(shifted)) for place, byte in enumerate(bytes_by_id())]


def bytes_by_id() -> list[int]:
    """The 256 bytes in the order of their ids: printable ones first."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    return printable + [byte for byte in range(256) if byte not in printable]


_SYMBOLS = frozenset([*byte_symbols(), " "])
