"""`corpus diff`: two builds of one corpus compared, document by document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.decontaminate import stage as decontaminate
from dataprep.errors import DataError
from dataprep.selection.exclude import build_of
from dataprep.selection.thresholds import KEPT
from dataprep.store.files import read_table

NOT_JUDGED = "not judged"
"""The verdict of a build that has not come to an increment."""
CUT = "cut"
"""The verdict on a document that is kept, but for what evaluation sets hold of it."""

Change = tuple[str, str]
"""A verdict of the first build, and what became of it in the second."""


@dataclass
class Difference:
    """How many documents went from one verdict to another, `same` included; some of those that changed."""

    counts: Counter[Change] = field(default_factory=Counter)
    examples: dict[Change, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def same(self) -> int:
        """Documents whose verdict did not change."""
        return sum(number for (before, after), number in self.counts.items() if before == after)

    @property
    def changes(self) -> list[tuple[Change, int]]:
        """The other changes with their documents, the most frequent first."""
        changed = [(change, number) for change, number in self.counts.items() if change[0] != change[1]]
        return sorted(changed, key=lambda item: (-item[1], item[0]))


def named_build(corpus: Corpus, name: str) -> Build:
    """A build by the beginning of its name, `current`, or `recipe`: the recipe's own.

    Raises DataError when it is not there.
    """
    if name != "recipe":
        return corpus.find_build(name)
    build = build_of(corpus)
    if not build.path.is_dir():
        raise DataError(f"{build.path}: the recipe's own build is not there; {corpus.way_to_a_build}")
    return build


def compare(corpus: Corpus, first: Build, second: Build, examples: int) -> Difference:
    """Compare the verdicts of two builds; gives up to `examples` documents of each change, in corpus order.

    Memory: the verdicts of one increment, about 100 bytes a document.
    """
    found = Difference()
    for increment in corpus.increments():
        tables = [verdicts_on(corpus, build, increment) for build in (first, second)]
        judged = next((table for table in tables if table is not None), None)
        if judged is None:
            continue
        verdicts = [_column(table, judged, "verdict", NOT_JUDGED) for table in tables]
        numbers = [_column(table, judged, "number", None) for table in tables]
        wanted = []
        for place, change in enumerate(zip(*verdicts, strict=True)):
            found.counts[change] += 1
            if change[0] != change[1] and found.counts[change] <= examples:
                wanted.append((place, change))
        urls = _urls(corpus, increment, judged, [place for place, _ in wanted])
        for (place, change), url in zip(wanted, urls, strict=True):
            example = {"doc_id": judged["doc_id"][place].as_py().hex(), "url": url}
            example["numbers"] = [column[place] for column in numbers]
            found.examples.setdefault(change, []).append(example)
    return found


def verdicts_on(corpus: Corpus, build: Build, increment: Increment) -> pa.Table | None:
    """Keys, places, last verdicts and numbers of an increment's documents, in corpus order."""
    if not build.has("verdicts", increment):
        return None
    columns = ["doc_id", "part", "row", "verdict", "number"]
    table = read_table(corpus.root, build.outputs("verdicts", "verdicts", increment), columns)
    for output in decontaminate.tables(build, increment):
        table = _cleaned(table, read_table(corpus.root, [output], ["doc_id", "verdict", "number"]))
    return table


def _cleaned(table: pa.Table, cleaned: pa.Table) -> pa.Table:
    """The table with the verdicts and numbers of the step that cuts documents, where it has some."""
    places = pc.index_in(table["doc_id"], value_set=cleaned["doc_id"].combine_chunks())
    verdicts = pc.replace_substring_regex(cleaned["verdict"], f"^{KEPT}$", CUT).take(places)
    numbers = cleaned["number"].cast(pa.float64()).take(places)
    table = table.set_column(
        table.column_names.index("verdict"), "verdict", pc.coalesce(verdicts, table["verdict"])
    )
    return table.set_column(
        table.column_names.index("number"), "number", pc.coalesce(numbers, table["number"])
    )


def _column(table: pa.Table | None, judged: pa.Table, name: str, missing: Any) -> list[Any]:
    return [missing] * len(judged) if table is None else table[name].to_pylist()


def _urls(corpus: Corpus, increment: Increment, judged: pa.Table, places: list[int]) -> Iterator[str]:
    documents = increment.outputs("extract", "documents")
    for place in places:
        part, row = judged["part"][place].as_py(), judged["row"][place].as_py()
        yield read_table(corpus.root, [documents[part]], ["url"])["url"][row].as_py()
