"""Texts to pretrain on for `transfer`: novels as SST-2 is written, and the same words in random order.

    python -m benchmarks.finetuning.novels NOVELS -o DIR

NOVELS: a folder of .txt.gz. DIR/real and DIR/shuffled get a file for each 100 paragraphs. As in SST-2,
letters are small, and punctuation and contractions stand apart.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
from pathlib import Path

PARAGRAPHS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("novels", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    generator = random.Random(0)
    for path in sorted(given.novels.glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            paragraphs = [spaced(text) for text in re.split(r"\n\s*\n", file.read()) if text.strip()]
        words = [word for paragraph in paragraphs for word in paragraph.split()]
        generator.shuffle(words)
        rest = iter(words)
        shuffled = [" ".join(next(rest) for _ in paragraph.split()) for paragraph in paragraphs]
        for kind, texts in {"real": paragraphs, "shuffled": shuffled}.items():
            write(given.output / kind, path.name.removesuffix(".txt.gz"), texts)


def spaced(text: str) -> str:
    """Write a text as SST-2 writes sentences.

    >>> print(spaced("“I don't,” said\\nhe."))
    " i do n't , " said he .
    """
    text = text.lower().translate(str.maketrans("’“”", '\'""'))
    text = re.sub(r"n't\b", " n't", text)
    text = re.sub(r"'(s|re|ve|ll|d|m)\b", r" '\1", text)
    text = re.sub(r'([.,!?;:()"\[\]]|--)', r" \1 ", text)
    return " ".join(text.split())


def write(folder: Path, name: str, paragraphs: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for begin in range(0, len(paragraphs), PARAGRAPHS):
        part = folder / f"{name}-{begin // PARAGRAPHS:03d}.txt"
        part.write_text("\n".join(paragraphs[begin : begin + PARAGRAPHS]))


if __name__ == "__main__":
    main()
