"""How much of evaluation sets the kept text of a build holds: the report of GPT-3's appendix C.

An example is dirty when it shares an N-gram with any kept document, and clean otherwise. N is the 5th
percentile of the set's example lengths in words, but at least 8 (fewer give spurious collisions) and at most
13. An example is as long as its longest text, for labels, ids and lists of aliases are no text; its n-grams
run over all of its texts.

Memory: the sets' n-grams, about 90 bytes each, and in each process a batch of documents.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dataprep.corpus import evalsets
from dataprep.corpus.directory import Build, Corpus
from dataprep.corpus.evalsets import Example
from dataprep.shards import text_shards
from dataprep.store.files import replace
from dataprep.store.npy import mapped
from dataprep.store.pool import Progress, run_all
from dataprep.text import ngrams
from dataprep.text.ngrams import Grams

SMALLEST, LARGEST = 8, 13
PERCENTILE = 5

_ARRAYS = ("hashes", "first", "letters", "bounds")


@dataclass(frozen=True)
class DirtyExample:
    """An example by its set, line and own id; its first n-gram in a document, and the first such document."""

    set: str
    line: int
    id: str | int | None
    ngram: str
    doc_id: str


@dataclass(frozen=True)
class SetOverlap:
    """One evaluation set: the N that was used, its examples, and the dirty ones among them.

    short: examples that have fewer than N words, and therefore count as clean.
    """

    name: str
    n: int
    examples: int
    short: int
    dirty: list[DirtyExample]

    @property
    def clean(self) -> int:
        return self.examples - len(self.dirty)


def save_dirty(found: Sequence[SetOverlap], path: Path) -> int:
    """Write the dirty examples of all sets as JSON lines; returns how many there are."""
    lines = [json.dumps(asdict(example), ensure_ascii=False) for report in found for example in report.dirty]
    replace(path, "".join(f"{line}\n" for line in lines).encode())
    return len(lines)


def overlap(corpus: Corpus, build: Build, sets: Path, workers: int, progress: Progress) -> list[SetOverlap]:
    """The report on the evaluation sets of a directory, by name, against the text shards of a build.

    Raises DataError when the sets or the shards cannot be read.
    """
    by_name = {name: list(evalsets.examples(path)) for name, path in evalsets.files(sets).items()}
    n_of_set = {name: n_of(_lengths(examples)) for name, examples in by_name.items()}
    tables = {
        n: Grams.of(_words([text for name in by_name if n_of_set[name] == n for text in by_name[name]]), n)
        for n in sorted(set(n_of_set.values()))
    }
    shards = text_shards.shards(build)
    with tempfile.TemporaryDirectory() as shared:  # for the workers to map
        for n, table in tables.items():
            for name in _ARRAYS:
                np.save(Path(shared) / f"{n}-{name}.npy", getattr(table, name))
        parts = [(corpus.root / shard.tar.path, Path(shared), list(tables)) for shard in shards]
        with progress("overlap", sum(shard.tar.rows for shard in shards), "documents") as tick:
            in_shards = run_all(find_in, parts, workers, tick)
    holders = {n: dict[int, str]() for n in tables}
    for found in in_shards:
        for n, documents in found.items():
            holders[n] = documents | holders[n]  # the document of the first shard stays
    return [
        _judge(name, examples, tables[n_of_set[name]], holders[n_of_set[name]])
        for name, examples in by_name.items()
    ]


def short_lines(path: Path) -> list[int]:
    """Lines of the examples of a set that have fewer than its N words, and therefore count as clean.

    Raises DataError as `evalsets.examples`.
    """
    examples = list(evalsets.examples(path))
    n = n_of(_lengths(examples))
    words = np.bincount(_words(examples).texts, minlength=len(examples))
    return [example.line for example, count in zip(examples, words.tolist(), strict=True) if count < n]


def n_of(lengths: npt.NDArray[np.int64]) -> int:
    """N for a set whose examples have these lengths in words.

    >>> n_of(np.array([3, 9, 9])), n_of(np.arange(10, 30)), n_of(np.array([40]))
    (8, 10, 13)
    """
    if not len(lengths):
        return LARGEST
    return int(np.clip(np.percentile(lengths, PERCENTILE, method="lower"), SMALLEST, LARGEST))


def find_in(tar: Path, tables: Path, ns: list[int], tick: Callable[[int], None]) -> dict[int, dict[int, str]]:
    """The n-grams that occur in one text shard, for each n: their numbers, and the first doc_id of each."""
    loaded = {n: Grams(n, *(mapped(tables / f"{n}-{name}.npy") for name in _ARRAYS)) for n in ns}
    found = {n: dict[int, str]() for n in ns}
    doc_ids: list[str] = []

    def texts() -> Iterator[str]:
        for document in text_shards.read_documents(tar):
            doc_ids.append(document["doc_id"])
            yield document["text"]

    for first, batch in ngrams.batches(texts()):
        words = ngrams.words(batch)
        for n, table in loaded.items():
            places, numbers = table.find(words)
            for number, text in zip(numbers.tolist(), words.texts[places].tolist(), strict=True):
                found[n].setdefault(number, doc_ids[first + text])
        tick(len(batch))
    return found


def _judge(name: str, examples: list[Example], table: Grams, holder: dict[int, str]) -> SetOverlap:
    words = _words(examples)
    places, numbers = table.find(words)
    dirty: dict[int, DirtyExample] = {}
    for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
        at = int(words.texts[place])
        if number in holder and at not in dirty:
            example = examples[at]
            dirty[at] = DirtyExample(name, example.line, example.id, table.text(number), holder[number])
    short = len(examples) - len(np.unique(words.texts[places]))
    return SetOverlap(name, table.n, len(examples), short, list(dirty.values()))


def _words(examples: list[Example]) -> ngrams.Words:
    return ngrams.words([example.text for example in examples])


def _lengths(examples: list[Example]) -> npt.NDArray[np.int64]:
    """(n,) words in the longest text of each example."""
    texts = [text for example in examples for text in example.texts]
    counts = np.bincount(ngrams.words(texts).texts, minlength=len(texts))
    ends = np.cumsum([len(example.texts) for example in examples])
    return np.array([part.max(initial=0) for part in np.split(counts, ends[:-1])], np.int64)[: len(examples)]
