"""Step `decontaminate`: cut what evaluation sets hold out of the kept documents (GPT-3's appendix C).

An n-gram of an evaluation set that occurs in a document is cut out with a window of characters on either
side; short pieces are dropped, and documents that fall into too many pieces. An n-gram counts the kept
documents that it occurs in, in corpus order, and is ignored from the one on that comes after `common` of
them. (The paper ignores such n-grams everywhere, which would let later increments change earlier ones.) So
only the past decides, and an incremental build keeps what a one-shot build keeps.

Step `ngrams` derives the n-grams from the sets once a build, and they stay in it. Each increment then takes
two passes: `occurrences` finds those in its partitions in parallel, `decontaminate` counts them in corpus
order. Memory of finding: the n-grams (about 45 bytes each, of which 25 are mapped) and a batch of documents;
of counting: 40 bytes an occurrence in the increment and 4 an n-gram.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus import evalsets
from dataprep.corpus.directory import Build, Corpus, Decisions, Increment
from dataprep.corpus.recipe import Decontaminate
from dataprep.errors import DataError
from dataprep.selection import kept
from dataprep.selection.thresholds import KEPT
from dataprep.store.files import Output, read_table
from dataprep.store.npy import mapped
from dataprep.store.records import load_step, origin, step_path
from dataprep.store.step import Made, Part, Save, Task, read_step
from dataprep.text import ngrams
from dataprep.text.ngrams import Grams

NGRAMS, STEP = "ngrams", "decontaminate"
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


def evaluation_sets(scope: Decisions) -> dict[str, str]:
    """The files of the recipe's evaluation sets, with their hashes. Later the sets may be gone.

    Raises DataError when they are not, or no longer, those that the recipe was made with.
    """
    rules = _rules(scope.corpus)
    sets = Path(rules.sets)
    path = step_path(scope.build.path, NGRAMS)
    derived = load_step(path).inputs if path.exists() else None
    if derived is not None and not sets.is_dir():
        return derived
    hashes = evalsets.hashes(sets)
    if evalsets.content(hashes) != rules.content:
        raise _changed(scope.corpus, sets, derived, hashes)
    return hashes


def _changed(corpus: Corpus, sets: Path, before: dict[str, str] | None, hashes: dict[str, str]) -> DataError:
    names = sorted(dict(before.items() ^ hashes.items())) if before else []
    return DataError(
        f"{sets}: the evaluation sets have changed since the recipe was made ({', '.join(names[:5])}); "
        f"put them back, or make a build with these by `outbound corpus select {corpus.root} "
        f"decontaminate.sets={sets}`"
        + ("; or move them away, as the build holds its own n-grams" if before else "")
    )


def plan_ngrams(scope: Decisions, save: Save) -> list[Part]:
    """One part, for the whole build."""
    return [Part(name="all")]


def run_ngrams(task: Task[Decisions]) -> Made:
    """Derive the n-grams of the evaluation sets."""
    rules = _rules(task.scope.corpus)
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
    task.tick(len(texts))
    return Made(
        outputs={name: task.publish_array(array, name) for name, array in arrays.items()},
        entered=len(texts),
        passed=long,
        reasons={"too_short": len(texts) - long} if long < len(texts) else {},
    )


def versions(scope: Decisions) -> dict[str, str]:
    """What decides which n-grams a text has."""
    return {"ngrams": ngrams.VERSION}


def counts_before(scope: Decisions) -> dict[str, str]:
    """What the increments before this one left, as an input."""
    before = _before(scope)
    if before is None:
        return {}
    return {f"{before.path.name}/{STEP}": origin(scope.build.of(before), STEP)}


def plan_occurrences(scope: Decisions, save: Save) -> list[Part]:
    """A part for each partition of documents, of its name."""
    return [Part(name=part.part) for part in scope.increment.parts("extract")]


def run_occurrences(task: Task[Decisions]) -> Made:
    """Find the n-grams in the kept documents of one partition, but for those that are common already."""
    scope, corpus = task.scope, task.scope.corpus
    parts = scope.increment.parts("extract")
    number = [part.part for part in parts].index(task.part.name)
    rules = _rules(corpus)
    table = _load(scope, rules.ngram)
    uncommon = _load_counts(scope, len(table)) < rules.common
    rows = kept.kept_rows(scope)
    rows = rows[rows["part"] == number]
    texts = kept.chosen(corpus.root / parts[number].outputs["documents"].path, rows["row"], ["text"])
    found = []
    for first, batch in ngrams.batches(chain.from_iterable(table["text"].to_pylist() for table in texts)):
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
        task.tick(len(batch))
    hits = pa.concat_tables([OCCURRENCES.empty_table(), *found])
    return Made(outputs={"occurrences": task.publish_table(hits)}, entered=len(rows), passed=len(rows))


@dataclass(frozen=True, kw_only=True)
class CutNotes:
    """Notes of an increment: how many documents were cut and kept, and how many met each evaluation set."""

    cut: int = 0
    documents_by_set: dict[str, int] = field(default_factory=dict)


def plan(scope: Decisions, save: Save) -> list[Part]:
    """One part."""
    return [Part(name="all", size=sum(part.entered for part in read_step(scope, "occurrences").parts))]


def run(task: Task[Decisions]) -> Made:
    """Count the occurrences of an increment in corpus order, and cut the documents."""
    scope, corpus = task.scope, task.scope.corpus
    found, derived = read_step(scope, "occurrences"), read_step(scope, NGRAMS)
    rules = _rules(corpus)
    sets = mapped(corpus.root / derived.parts[0].outputs["sets"].path)
    counts = np.array(_load_counts(scope, len(sets)))
    table = read_table(corpus.root, found.outputs("occurrences"), OCCURRENCES.names).cast(OCCURRENCES)
    order, gram, start, end, characters = (table[name].to_numpy() for name in OCCURRENCES.names)
    removed = count(order, gram, counts, rules.common)

    places = np.flatnonzero(removed)
    places = places[np.lexsort((start[places], order[places]))]
    touched, first = np.unique(order[places], return_index=True)
    verdicts = read_table(corpus.root, kept.verdicts_of(scope), ["doc_id", "part", "row"])
    documents = verdicts.take(touched)
    rows, entered = [], sum(part.passed for part in found.parts)
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
    named = dict(enumerate(derived.inputs))
    by_set = np.unique(np.stack([sets[gram[places]], order[places]]), axis=1)[0]
    task.tick(entered)
    return Made(
        outputs={
            "cut": task.publish_table(pa.Table.from_pylist(rows, schema=SCHEMA)),
            "counts": task.publish_array(counts, "counts"),
        },
        entered=entered,
        passed=entered - contaminated,
        reasons={CONTAMINATED: contaminated} if contaminated else {},
        notes=CutNotes(
            cut=len(rows) - contaminated,
            documents_by_set={
                named[int(number)]: int(n)
                for number, n in zip(*np.unique(by_set, return_counts=True), strict=True)
            },
        ),
    )


def tables(build: Build, increment: Increment) -> list[Output]:
    """The table of an increment's cut documents (SCHEMA); none in a build that is not decontaminated."""
    return build.outputs(STEP, "cut", increment)


def of_increment(scope: Decisions) -> dict[str, str]:
    """What was cut, as an input of what is made of the rest; nothing where nothing is decontaminated."""
    whole = step_path(scope.build.of(scope.increment), STEP).exists()
    return {STEP: origin(scope.build.of(scope.increment), STEP)} if whole else {}


def pieces(scope: Decisions) -> dict[tuple[int, int], list[Span]]:
    """What is left of the documents that were cut, by (part, row); of contaminated ones nothing."""
    columns = ["part", "row", "pieces"]
    rows = read_table(scope.root, tables(scope.build, scope.increment), columns).to_pylist()
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


def _rules(corpus: Corpus) -> Decontaminate:
    rules = corpus.recipe.select.decontaminate
    if rules is None:
        raise DataError(f"{corpus.root}: its recipe names no evaluation sets (select.decontaminate)")
    return rules


def _load(scope: Decisions, n: int) -> Grams:
    outputs = read_step(scope, NGRAMS).parts[0].outputs
    names = ("hashes", "first", "letters", "bounds")
    return Grams(n, *(mapped(scope.root / outputs[name].path) for name in names))


def _before(scope: Decisions) -> Increment | None:
    return scope.corpus.before(scope.increment)


def _load_counts(scope: Decisions, number: int) -> npt.NDArray[np.uint32]:
    """The counts that the increment before this one left."""
    before = _before(scope)
    if before is None:
        return np.zeros(number, np.uint32)
    return mapped(scope.root / scope.build.parts(STEP, before)[0].outputs["counts"].path)
