"""Evaluation sets from the pages that training does not see: their text, and a cloze set in LAMBADA's form.

held_out.jsonl    {"id": URL key, "text": a page}
cloze.jsonl       {"text": a passage whose last word a reader of the passage can guess}
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from dataprep.corpus.directory import Corpus
from dataprep.pack.packing import is_held_out
from dataprep.shards import text_shards
from dataprep.store.files import replace

SHORTEST, LONGEST = 30, 120
"""Words of a passage."""
PER_PAGE = 3
PASSAGES = 200

_SENTENCE = re.compile(r"[^.!?]+[.!?]+(?=\s|$)")
_LAST_WORD = re.compile(r"(.*\s)([a-z]{4,})[.!?]+", re.DOTALL)


def write_sets(corpus: Path, share: float, directory: Path) -> None:
    """Write both sets from the current build; `share` is that of `outbound pack --held-out`."""
    opened = Corpus.open(corpus)
    pages = [
        (url_key.hex(), text)
        for shard in text_shards.shards(opened.current_build())
        for _, url_key, text in text_shards.read_texts(corpus, shard)
        if is_held_out(url_key, share)
    ]
    directory.mkdir(parents=True, exist_ok=True)
    passages = [passage for _, text in pages for passage in cloze_passages(text)]
    sets = {
        "held_out": [{"id": key, "text": text} for key, text in pages],
        "cloze": [{"text": passage} for passage in passages[:PASSAGES]],
    }
    for name, rows in sets.items():
        replace(directory / f"{name}.jsonl", msgspec.json.Encoder().encode_lines(rows))


def cloze_passages(text: str) -> list[str]:
    """Passages of whole sentences, without the last full stop. The last word of each stands in it before.

    >>> text = "The parser reads a file. " + "It goes on. " * 9 + "At the end it closes the file."
    >>> [passage[-22:] for passage in cloze_passages(text)]
    ['end it closes the file']
    """
    found: list[str] = []
    for paragraph in text.split("\n\n"):
        passage: list[str] = []
        for sentence in _SENTENCE.findall(paragraph):
            passage.append(" ".join(sentence.split()))
            words = [word for each in passage for word in each.split()]
            ending = _LAST_WORD.fullmatch(" ".join(words))
            if len(words) > LONGEST:
                passage = []
            elif len(words) >= SHORTEST and ending and ending[2] in re.findall(r"\w+", ending[1]):
                found.append(ending[1] + ending[2])
                passage = []
            if len(found) == PER_PAGE:
                return found
    return found
