"""GPT-1's input transformations: an example becomes sequences of ids (Radford et al. 2018, section 3.3).

classification    [start] text [extract]
entailment        [start] premise [delimiter] hypothesis [extract]
similarity        [start] first [delimiter] second [extract], and second before first
multiple_choice   [start] context [delimiter] answer [extract], for each answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dataprep.errors import DataError
from dataprep.tokenizer.tokenizer import Tokenizer
from pipeline.finetune.examples import Example
from pipeline.finetune.settings import Kind

Ids = list[int]


class Specials(NamedTuple):
    """The ids of the three tokens that no text holds."""

    start: int
    delimiter: int
    extract: int


def specials_after(vocab_size: int, eot: int | None = None) -> tuple[Specials, int]:
    """The special tokens behind a vocabulary, and the size of the vocabulary with them.

    eot: the end of text where it is the start token.

    >>> specials_after(100, eot=99)
    (Specials(start=99, delimiter=100, extract=101), 102)
    """
    if eot is None:
        return Specials(vocab_size, vocab_size + 1, vocab_size + 2), vocab_size + 3
    return Specials(eot, vocab_size, vocab_size + 1), vocab_size + 2


def room_of(kind: Kind, length: int) -> int:
    """Tokens of one text in a sequence of `length`; of a pair, those of the released code.

    >>> room_of("classification", 512), room_of("entailment", 512)
    (510, 254)
    """
    return length - 2 if kind == "classification" else length // 2 - 2


def sequences_of(kind: Kind, texts: Sequence[Ids], specials: Specials) -> list[Ids]:
    """The sequences of an example whose texts have these ids.

    >>> sequences_of("similarity", [[7, 8], [9]], Specials(0, 1, 2))
    [[0, 7, 8, 1, 9, 2], [0, 9, 1, 7, 8, 2]]
    """
    start, delimiter, extract = specials

    def pair(first: Ids, second: Ids) -> Ids:
        return [start, *first, delimiter, *second, extract]

    match kind:
        case "classification":
            return [[start, *texts[0], extract]]
        case "entailment":
            return [pair(texts[0], texts[1])]
        case "similarity":
            return [pair(texts[0], texts[1]), pair(texts[1], texts[0])]
        case "multiple_choice":
            return [pair(texts[0], answer) for answer in texts[1:]]


@dataclass(frozen=True)
class Transformation:
    """What turns examples of a kind into sequences of at most `length` tokens."""

    kind: Kind
    tokenizer: Tokenizer
    specials: Specials
    length: int
    too_long: Literal["cut", "refuse"] = "cut"

    def __call__(self, example: Example) -> tuple[list[Ids], int]:
        """The sequences of an example, and how many of its texts were cut.

        Raises DataError that names file and row when a text has no tokens, or is longer than `too_long`
        allows.
        """
        room = room_of(self.kind, self.length)
        texts, cut = [], 0
        for number, text in enumerate(example.texts, 1):
            ids = self.tokenizer.encode(text)
            place = f"{example.where}: text {number}"
            if not ids:
                raise DataError(f"{place} is empty: fill it in, or remove the row")
            if len(ids) > room and self.too_long == "refuse":
                raise DataError(
                    f"{place} has {len(ids)} tokens, and there is room for {room}: shorten it, or use "
                    "finetune.too_long=cut"
                )
            cut += len(ids) > room
            texts.append(ids[:room])
        return sequences_of(self.kind, texts, self.specials), cut
