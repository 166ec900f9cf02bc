"""Step `decontaminate`: cut what evaluation sets hold out of the kept documents (GPT-3's appendix C).

An n-gram of an evaluation set that occurs in a document is cut out with a window of characters on either
side; short pieces are dropped, and documents that fall into too many pieces. An n-gram counts the kept
documents that it occurs in, in corpus order, and is ignored from the one on that comes after `common` of
them. (The paper ignores such n-grams everywhere, which would let later increments change earlier ones.) So
only the past decides, and an incremental build keeps what a one-shot build keeps.

The n-grams are derived from the sets once a build, and stay in it. Each increment then takes two passes: the
occurrences in its partitions are found in parallel, then counted in corpus order. Memory of finding: the
n-grams (about 45 bytes each, of which 25 are mapped) and a batch of documents; of counting: 40 bytes an
occurrence in the increment and 4 an n-gram.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus import evalsets
from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.corpus.recipe import Decontaminate
from dataprep.errors import DataError
from dataprep.selection import kept
from dataprep.selection.thresholds import KEPT
from dataprep.store.files import Output, publish_array, publish_table, read_table
from dataprep.store.npy import mapped
from dataprep.store.records import Record, commit, done, load_record
from dataprep.text import ngrams
from dataprep.text.ngrams import Grams

SETS, HITS, STEP = "evals", "hits", "clean"
CONTAMINATED = "contaminated"

OCCURRENCES = pa.schema([(name, pa.int64()) for name in ("order", "gram", "start", "end", "characters")])
"""An n-gram in a document: the document's row in the verdicts, its length, and the n-gram's place in it."""

SCHEMA = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("part", pa.int32()),
        ("row", pa.int32()),
        ("verdict", pa.string()),
        ("number", pa.int64()),
        ("pieces", pa.list_(pa.list_(pa.int64()))),
    ]
)
"""A document that was cut. number: the pieces that it fell into, of which `pieces` [start, end) are kept."""

Span = tuple[int, int]


def cut(hits: list[Span], characters: int, rules: Decontaminate) -> list[Span]:
    """The pieces into which a document falls, short ones, too.

    hits: the [start, end) of n-grams, by start. A piece ends `window` characters before one, or begins as
    many behind it.

    >>> rules = Decontaminate(sets="evals", window=200)
    >>> cut([(300, 370), (350, 420), (1000, 1060)], 2000, rules)
    [(0, 100), (620, 800), (1260, 2000)]
    """
    pieces, end = [], 0
    for start, hit_end in hits:
        if start - rules.window > end:
            pieces.append((end, start - rules.window))
        end = max(end, hit_end + rules.window)
    return pieces if end >= characters else [*pieces, (end, characters)]


def prepare(corpus: Corpus, build: Build) -> Record:
    """Derive the n-grams of the recipe's evaluation sets, once a build; later the sets may be gone.

    Raises DataError when the sets are not, or no longer, those that the recipe was made with.
    """
    rules = _rules(corpus)
    sets = Path(rules.sets)
    path = _derived(build)
    record = load_record(path) if path.exists() else None
    if record is None or sets.is_dir():
        hashes = evalsets.hashes(sets)
        if evalsets.content(hashes) != rules.content:
            raise _changed(corpus, sets, record, hashes)
    return record or commit(path, _derive(corpus, build, hashes))


def _changed(corpus: Corpus, sets: Path, record: Record | None, hashes: dict[str, str]) -> DataError:
    before = record.inputs if record else {}
    names = sorted(dict(before.items() ^ hashes.items())) if record else []
    return DataError(
        f"{sets}: the evaluation sets have changed since the recipe was made ({', '.join(names[:5])}); "
        f"put them back, or make a build with these by `outbound corpus select {corpus.root} "
        f"decontaminate.sets={sets}`"
        + ("; or move them away, as the build holds its own n-grams" if record else "")
    )


def _derive(corpus: Corpus, build: Build, hashes: dict[str, str]) -> Record:
    rules = _rules(corpus)
    texts: list[str] = []
    set_of_text: list[int] = []
    for number, path in enumerate(evalsets.files(Path(rules.sets)).values()):
        for example in evalsets.examples(path):
            texts.append(example.text)
            set_of_text.append(number)
    collection = ngrams.words(texts)
    found = Grams.of(collection, rules.ngram)
    long = len(np.unique(collection.texts[collection.grams(rules.ngram)[0]]))
    set_of_gram = np.array(set_of_text, np.uint16)[collection.texts[found.first]]
    arrays: dict[str, npt.NDArray[Any]] = {
        "hashes": found.hashes,
        "first": found.first,
        "letters": found.letters,
        "bounds": found.bounds,
        "sets": set_of_gram,
    }
    outputs = [publish_array(corpus.root, build.path / SETS, stem, array) for stem, array in arrays.items()]
    return Record(
        stage=SETS,
        part="grams",
        inputs=hashes,
        outputs=outputs,
        entered=len(texts),
        passed=long,
        reasons={"too_short": len(texts) - long} if long < len(texts) else {},
        versions={"grams": ngrams.VERSION},
    )


def find_part(
    corpus: Corpus, build: Build, increment: Increment, number: int, tick: Callable[[int], None]
) -> Record:
    """Find the n-grams in the kept documents of one partition, but for those that are common already."""
    part = f"{increment.number:04d}-{number:05d}"
    path = build.path / HITS / f"{part}.json"
    documents = increment.records("documents")[number]
    derived, before = load_record(_derived(build)), _counts_before(build, increment)
    sources = [*documents.outputs[:1], kept.verdicts(build, increment).outputs[0], *derived.outputs, *before]
    inputs = {output.path: output.xxh3_128 for output in sources}
    if record := done(path, inputs):
        tick(record.passed)
        return record
    rules = _rules(corpus)
    table = _load(corpus, derived, rules.ngram)
    uncommon = _load_counts(corpus, before, len(table)) < rules.common
    rows = kept.kept_rows(corpus, build, increment)
    rows = rows[rows["part"] == number]
    texts = kept.chosen(corpus.root / documents.outputs[0].path, rows["row"], ["text"])
    found = []
    for first, batch in ngrams.batches(chain.from_iterable(each["text"].to_pylist() for each in texts)):
        words = ngrams.words(batch)
        places, numbers = table.find(words)
        counted = uncommon[numbers]
        places, numbers = places[counted], numbers[counted]
        texts_hit = words.texts[places]
        lengths = np.array([len(text) for text in batch])
        found.append(
            pa.table(
                [
                    rows["order"][first + texts_hit].astype(np.int64),
                    numbers,
                    words.starts[places],
                    words.ends[places + rules.ngram - 1],
                    lengths[texts_hit],
                ],
                schema=OCCURRENCES,
            )
        )
        tick(len(batch))
    hits = pa.concat_tables([OCCURRENCES.empty_table(), *found])
    output = publish_table(corpus.root, build.path / HITS, part, hits)
    return commit(path, Record(HITS, part, inputs, [output], len(rows), len(rows)))


def clean_increment(corpus: Corpus, build: Build, increment: Increment) -> Record:
    """Count the occurrences of an increment in corpus order, and cut the documents."""
    part = f"{increment.number:04d}"
    path = build.path / STEP / f"{part}.json"
    verdicts = kept.verdicts(build, increment)
    hits = [record for record in build.records(HITS) if record.part.startswith(f"{part}-")]
    derived, before = load_record(_derived(build)), _counts_before(build, increment)
    sources = [verdicts.outputs[0], *before, *(output for record in hits for output in record.outputs)]
    inputs = {output.path: output.xxh3_128 for output in sources}
    if record := done(path, inputs):
        return record
    rules = _rules(corpus)
    sets = mapped(corpus.root / derived.outputs[4].path)
    counts = np.array(_load_counts(corpus, before, len(sets)))
    table = read_table(corpus.root, [o for r in hits for o in r.outputs], OCCURRENCES.names).cast(OCCURRENCES)
    order, gram, start, end, characters = (table[name].to_numpy() for name in OCCURRENCES.names)
    removed = count(order, gram, counts, rules.common)

    places = np.flatnonzero(removed)
    places = places[np.lexsort((start[places], order[places]))]
    touched, first = np.unique(order[places], return_index=True)
    documents = read_table(corpus.root, verdicts.outputs[:1], ["doc_id", "part", "row"]).take(touched)
    rows, entered = [], sum(record.passed for record in hits)
    for row, of_document in zip(documents.to_pylist(), np.split(places, first[1:]), strict=False):
        spans = list(zip(start[of_document].tolist(), end[of_document].tolist(), strict=True))
        pieces = cut(spans, int(characters[of_document[0]]), rules)
        long = [piece for piece in pieces if piece[1] - piece[0] >= rules.min_piece]
        whole = bool(long) and len(pieces) <= rules.max_pieces
        rows.append(
            {
                **row,
                "verdict": KEPT if whole else CONTAMINATED,
                "number": len(pieces),
                "pieces": long if whole else [],
            }
        )
    contaminated = sum(row["verdict"] == CONTAMINATED for row in rows)
    directory = build.path / STEP
    outputs = [
        publish_table(corpus.root, directory, part, pa.Table.from_pylist(rows, schema=SCHEMA)),
        publish_array(corpus.root, directory, f"{part}-counts", counts),
    ]
    named = dict(enumerate(derived.inputs))
    by_set = np.unique(np.stack([sets[gram[places]], order[places]]), axis=1)[0]
    return commit(
        path,
        Record(
            stage=STEP,
            part=part,
            inputs=inputs,
            outputs=outputs,
            entered=entered,
            passed=entered - contaminated,
            reasons={CONTAMINATED: contaminated} if contaminated else {},
            versions={"grams": ngrams.VERSION},
            notes={
                "cut": len(rows) - contaminated,
                "documents_by_set": {
                    named[int(number)]: int(n)
                    for number, n in zip(*np.unique(by_set, return_counts=True), strict=True)
                },
            },
        ),
    )


def outputs(build: Build, increment: Increment) -> list[Output]:
    """The table of an increment's cut documents (SCHEMA); none in a build that is not decontaminated."""
    part = f"{increment.number:04d}"
    return [record.outputs[0] for record in build.records(STEP) if record.part == part]


def pieces(corpus: Corpus, build: Build, increment: Increment) -> dict[tuple[int, int], list[Span]]:
    """What is left of the documents that were cut, by (part, row); of contaminated ones nothing."""
    columns = ["part", "row", "pieces"]
    rows = read_table(corpus.root, outputs(build, increment), columns).to_pylist()
    return {(row["part"], row["row"]): [(start, end) for start, end in row["pieces"]] for row in rows}


def count(
    order: npt.NDArray[np.int64], gram: npt.NDArray[np.int64], counts: npt.NDArray[np.uint32], common: int
) -> npt.NDArray[np.bool_]:
    """Which occurrences are removed: those in the first `common` documents of their n-gram.

    order, gram: (h,) the document and the n-gram of each. counts: (g,) documents of each n-gram so far, up to
    `common`; is brought up to date.
    """
    by_gram = np.lexsort((order, gram))
    gram_of, document = gram[by_gram], order[by_gram]
    first_of_gram = np.ones(len(order), np.bool_)
    first_of_gram[1:] = gram_of[1:] != gram_of[:-1]
    running = np.cumsum(first_of_gram | np.append(True, document[1:] != document[:-1])[: len(order)])
    own = running - running[first_of_gram][np.cumsum(first_of_gram) - 1] + 1
    reached = counts[gram_of] + own  # documents of the n-gram, up to and with this one
    removed = np.empty(len(order), np.bool_)
    removed[by_gram] = reached <= common
    np.maximum.at(counts, gram_of, np.minimum(reached, common).astype(np.uint32))
    return removed


def _derived(build: Build) -> Path:
    return build.path / SETS / "grams.json"


def _rules(corpus: Corpus) -> Decontaminate:
    rules = corpus.recipe.select.decontaminate
    if rules is None:
        raise DataError(f"{corpus.root}: its recipe names no evaluation sets (select.decontaminate)")
    return rules


def _load(corpus: Corpus, derived: Record, n: int) -> Grams:
    return Grams(n, *(mapped(corpus.root / output.path) for output in derived.outputs[:4]))


def _counts_before(build: Build, increment: Increment) -> list[Output]:
    """The counts that the increment before this one left, if there is one."""
    earlier = [record for record in build.records(STEP) if record.part < f"{increment.number:04d}"]
    return [earlier[-1].outputs[1]] if earlier else []


def _load_counts(corpus: Corpus, outputs: list[Output], number: int) -> npt.NDArray[np.uint32]:
    for output in outputs:
        return mapped(corpus.root / output.path)
    return np.zeros(number, np.uint32)
