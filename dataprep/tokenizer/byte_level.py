"""GPT-2's tokenizer: byte-level BPE, encoded by tiktoken from GPT-2's files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dataprep.tokenizer import gpt2_files

if TYPE_CHECKING:
    import tiktoken

PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""GPT-2's pre-tokenizer."""
LONGEST_SPACE = 100_000
# Unicode's White_Space, as the pattern's \s has it; Python's \s also takes the separators U+001C to U+001F.
_WHITE_SPACE = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_LONG_SPACE = re.compile(f"{_WHITE_SPACE}{{{LONGEST_SPACE},}}")


@dataclass(frozen=True)
class ByteLevel:
    """A loaded tokenizer of GPT-2's kind; `eot` is `<|endoftext|>`, the last id."""

    encoding: tiktoken.Encoding
    merges: list[str]
    fingerprint: str
    files: tuple[str, ...] = gpt2_files.FILES

    @property
    def vocab_size(self) -> int:
        return self.encoding.n_vocab

    @property
    def eot(self) -> int:
        return self.encoding.eot_token

    def encode(self, text: str) -> list[int]:
        """Ids of a text, in which special tokens are ordinary text."""
        if len(text) < LONGEST_SPACE:
            return self.encoding.encode_ordinary(text)
        ids: list[int] = self.encode_array(text).tolist()
        return ids

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The same ids, (tokens,) uint32."""
        if len(text) < LONGEST_SPACE:
            return self.encoding.encode_to_numpy(text, disallowed_special=())
        return np.concatenate(list(self._pieces(text)))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not UTF-8 become replacement characters."""
        return self.encoding.decode(list(ids))

    def huggingface(self) -> str:
        """The same tokenizer as a `tokenizer.json`. Raises DataError when HF's would give other ids."""
        text: str = gpt2_files.model_of(self.merges).to_str()
        return text

    def _pieces(self, text: str) -> Iterator[npt.NDArray[np.uint32]]:
        """The ids of a text, with long white space cut out just where the pattern cuts it.

        The pattern's look-ahead overflows tiktoken's stack in about a million characters of white space. All
        of it but the last character, which goes with what follows, is one piece.
        """
        start = 0
        for space in _LONG_SPACE.finditer(text):
            end = space.end() if space.end() == len(text) else space.end() - 1
            yield self.encoding.encode_to_numpy(text[start : space.start()], disallowed_special=())
            yield np.array(self.encoding._encode_single_piece(text[space.start() : end]), np.uint32)
            start = end
        yield self.encoding.encode_to_numpy(text[start:], disallowed_special=())


def load(directory: Path, fingerprint: str) -> ByteLevel:
    """Load GPT-2's files; raises DataError when they are damaged or do not agree."""
    import tiktoken

    merges = gpt2_files.read(directory)
    ranks = gpt2_files.ranks(merges)
    # Not by tiktoken.load: it caches files by their names, and gives the old ones back when they changed.
    encoding = tiktoken.Encoding(
        name=f"outbound-{fingerprint[:8]}",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={gpt2_files.END_OF_TEXT: len(ranks)},
    )
    return ByteLevel(encoding, merges, fingerprint)
