"""datatrove's filters. `datatrove_filters.py shipped|ours TEXTS.jsonl VERDICTS.jsonl` prints their seconds.

`ours` puts our definitions in the place of datatrove's: words are what white space separates (its own are
spaCy's tokens), sentences are ours, a symbol is what is neither letter nor digit, our terminal punctuation.
"""

import json
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    gopher_quality_filter,
)
from datatrove.utils import word_tokenizers


class OurWords:
    """A tokenizer as datatrove expects one, with our words and sentences."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def span_tokenize(self, line: str) -> list[tuple[int, int]]:
        from dataprep.text import c4

        return [(0, len(line))] * c4.sentences(line)


class OurSymbols:
    """Every character that is neither letter nor digit."""

    def __contains__(self, character: str) -> bool:
        return not character.isalnum()


def main(what: str, texts: Path, output: Path) -> None:
    """Judge every text and write its verdicts."""
    lines = [json.loads(line)["text"] for line in texts.read_text().splitlines()]
    fineweb = FineWebQualityFilter()
    if what == "ours":
        from dataprep.text.fineweb import TERMINAL

        words = OurWords()
        word_tokenizers.load_word_tokenizer = lambda language: words
        gopher_quality_filter.PUNCTUATION_SET = OurSymbols()
        fineweb = FineWebQualityFilter(stop_chars=tuple(TERMINAL))
    filters = {
        "Gopher repetition": GopherRepetitionFilter(),
        "Gopher quality": GopherQualityFilter(),
        "C4": C4QualityFilter(),
        "FineWeb": fineweb,
    }
    for each in filters.values():
        each.filter(Document(text="The first call loads what is loaded once.", id="0"))
    cpu, wall = time.process_time(), time.monotonic()
    verdicts = [
        {name: verdict(each.filter(Document(text=text, id="0"))) for name, each in filters.items()}
        for text in lines
    ]
    print(json.dumps({"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}))
    output.write_text("".join(json.dumps(row) + "\n" for row in verdicts))


def verdict(result: bool | tuple[bool, str]) -> str:
    """The reason of a filter's answer."""
    return "kept" if result is True else result[1]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
