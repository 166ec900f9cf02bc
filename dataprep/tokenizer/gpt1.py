"""GPT-1's tokenizer: BPE of 40,000 merges over lower-cased words that end in `</w>`.

Radford et al. 2018, section 4.1. The original cleans text by ftfy and cuts words by spaCy. Here, as in HF's
`OpenAIGPTTokenizer` without these two, words are BERT's: lower case, no accents, no control characters,
punctuation by itself; white space is not kept. The ids are HF's, but that a text's `<unk>` is ordinary text.

The vocabulary has no end of text. Its newline, `\\n</w>`, ends a document here: words hold no newline, so no
text gives it, and the 40,478 ids of the published model stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dataprep.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Model

MERGES, VOCABULARY = FILES = ("vocab_40000.bpe", "encoder_bpe_40000.json")
UNKNOWN, WORD_END, NEWLINE = "<unk>", "</w>", "\n</w>"


@dataclass(frozen=True)
class LowerCasedWords:
    """A loaded tokenizer of GPT-1's kind."""

    model: Model
    fingerprint: str
    vocab_size: int
    eot: int
    files: tuple[str, ...] = FILES

    def encode(self, text: str) -> list[int]:
        """Ids of a text; a character that the vocabulary lacks is `<unk>`."""
        ids: list[int] = self.model.encode(text).ids
        return ids

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The same ids, (tokens,) uint32."""
        return np.array(self.model.encode(text).ids, np.uint32)

    def decode(self, ids: Iterable[int]) -> str:
        """The words of ids, a space between any two."""
        text: str = self.model.decode(list(ids))
        return text

    def huggingface(self) -> str:
        """The same tokenizer as a `tokenizer.json`."""
        text: str = self.model.to_str()
        return text


def load(directory: Path, fingerprint: str) -> LowerCasedWords:
    """Load GPT-1's files; raises DataError when they are damaged or do not agree."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    try:
        ids = json.loads((directory / VOCABULARY).read_text(encoding="utf-8"))
        lines = (directory / MERGES).read_text(encoding="utf-8").split("\n")
        merges = [(left, right) for left, right in (line.split(" ") for line in lines[1:] if line)]
        bpe = models.BPE(ids, merges, unk_token=UNKNOWN, end_of_word_suffix=WORD_END)
        eot = ids[NEWLINE]
        if sorted(ids.values()) != list(range(len(ids))) or UNKNOWN not in ids:
            raise ValueError(f"ids are 0 to {len(ids) - 1}, one of them {UNKNOWN}'s")
    except Exception as error:  # tokenizers raises plain Exception for merges that make no token
        raise DataError(f"{directory}: {MERGES} or {VOCABULARY} is damaged ({error!r})") from None
    model = Tokenizer(bpe)
    model.normalizer = normalizers.BertNormalizer(lowercase=True)
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model.decoder = decoders.BPEDecoder(suffix=WORD_END)
    return LowerCasedWords(model, fingerprint, len(ids), eot)
