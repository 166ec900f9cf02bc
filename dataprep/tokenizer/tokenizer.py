"""Tokenizers: what makes ids of text. A directory's files say which kind it is; loading executes nothing.

- GPT-2's files, `vocab.bpe` and `encoder.json`: byte-level BPE, its own vocabulary or one trained here.
- GPT-1's, `vocab_40000.bpe` and `encoder_bpe_40000.json`: BPE of lower-cased words.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.errors import DataError, UsageError
from dataprep.store.files import replace
from dataprep.tokenizer import byte_level, gpt1, gpt2_files

HUGGINGFACE = "tokenizer.json"
"""What HF's libraries load; written beside the files that count, never read."""


class Tokenizer(Protocol):
    """What packing, training and generation ask of a tokenizer."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that it was loaded from."""

    @property
    def fingerprint(self) -> str:
        """xxh3_128 of these files."""

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""

    @property
    def eot(self) -> int:
        """The id that ends a document; no text gives it."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, in which special tokens are ordinary text."""

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The same ids, (tokens,) uint32."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids."""

    def huggingface(self) -> str:
        """The same tokenizer as a `tokenizer.json`. Raises DataError when HF's would give other ids."""


def load(directory: Path) -> Tokenizer:
    """Load a tokenizer; raises DataError when its files are missing, damaged or do not agree."""
    for files, kind in ((gpt2_files.FILES, byte_level), (gpt1.FILES, gpt1)):
        if all((directory / name).is_file() for name in files):
            content = b"".join((directory / name).read_bytes() for name in files)
            loaded: Tokenizer = kind.load(directory, xxhash.xxh3_128_hexdigest(content))
            return loaded
    wanted = " and ".join(gpt2_files.FILES)
    raise DataError(f"{directory}: {wanted} are missing; make them with `outbound tokenizer train`")


def refuse_unknown(tokenizer: Tokenizer, ids: Iterable[int]) -> None:
    """Raise UsageError for ids that the tokenizer does not have."""
    if wrong := [str(token) for token in ids if not 0 <= token < tokenizer.vocab_size]:
        raise UsageError(f"{' '.join(wrong)}: ids are 0 to {tokenizer.vocab_size - 1}")


def copy(source: Path, directory: Path) -> None:
    """Put the files of a tokenizer, and its `tokenizer.json`, into a directory."""
    tokenizer = load(source)
    for name in tokenizer.files:
        replace(directory / name, (source / name).read_bytes())
    replace(directory / HUGGINGFACE, tokenizer.huggingface().encode())
