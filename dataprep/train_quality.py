"""What a classifier is trained on: documents of corpora, and files of text or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dataprep.audit.funnel import judged
from dataprep.corpus.directory import Corpus
from dataprep.corpus.known_files import RECIPE
from dataprep.errors import DataError
from dataprep.score.quality.training import Sample, sample
from dataprep.selection import kept
from dataprep.store.decompress import TOO_LONG, Unreadable, lines
from dataprep.store.files import read_table

PIECE_CHARACTERS = 4000
"""A text file is cut between lines into pieces of about so much: a novel is not one sample."""
LONGEST_LINE_BYTES = 256 << 20
WARC = b"WARC/"
"""How a WARC or WET file begins: markup and headers that nobody means as text."""


def gather(paths: Iterable[Path], good: bool, limit: int, tick: Callable[[int], None]) -> list[Sample]:
    """The samples of one side: of all texts the `limit` with the lowest hashes, in the order of these.

    A good corpus gives what its current build keeps, a bad one all its documents. `tick` counts texts.
    Memory: about 3 KB a sample, twice `limit`, and the texts of one partition.
    """
    chosen: dict[int, Sample] = {}
    for path in paths:
        for text in _texts(path, good):
            one = sample(text)
            chosen[one.key] = one
            tick(1)
            if len(chosen) > 2 * limit:
                chosen = _lowest(chosen, limit)
    return list(_lowest(chosen, limit).values())


def _lowest(samples: dict[int, Sample], limit: int) -> dict[int, Sample]:
    return dict(sorted(samples.items())[:limit])


def _texts(path: Path, good: bool) -> Iterator[str]:
    if (path / RECIPE).is_file():
        corpus = Corpus.open(path)
        texts = _kept(corpus) if good else _all(corpus)
    elif path.is_file():
        texts = _objects(path) if ".jsonl" in path.suffixes else _pieces(_lines(path))
    else:
        raise DataError(f"{path}: neither a corpus nor a file of text or JSON lines")
    yield from (text for text in texts if text.strip())


def _all(corpus: Corpus) -> Iterator[str]:
    for increment in corpus.increments():
        for output in increment.outputs("extract", "documents"):
            yield from (text.as_py() or "" for text in read_table(corpus.root, [output], ["text"])["text"])


def _kept(corpus: Corpus) -> Iterator[str]:
    for scope in judged(corpus, corpus.current_build()):
        rows = kept.kept_rows(scope)
        for part, output in enumerate(scope.increment.outputs("extract", "documents")):
            here = rows["row"][rows["part"] == part]
            for batch in kept.chosen(corpus.root / output.path, here, ["text"]):
                yield from batch["text"].to_pylist()


def _objects(path: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(path), 1):
        try:
            text = json.loads(line)["text"]
        except (ValueError, TypeError, KeyError):
            text = None
        if not isinstance(text, str):
            raise DataError(f"{path}: line {number:,} is no JSON object with a `text`")
        yield text


def _pieces(text: Iterable[str]) -> Iterator[str]:
    piece: list[str] = []
    size = 0
    for line in text:
        piece.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield "".join(piece)
            piece, size = [], 0
    yield "".join(piece)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, compressed or not; raises DataError when it is damaged or no UTF-8."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(lines(file, LONGEST_LINE_BYTES)):
                if number == 0 and line.startswith(WARC):
                    raise DataError(f"{path}: is a WARC file, no text; import it into a corpus and give that")
                if line.startswith(TOO_LONG):
                    raise DataError(f"{path}: has a line of over {LONGEST_LINE_BYTES:,} bytes; cut it")
                yield line.decode() + "\n"
    except (Unreadable, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from None
