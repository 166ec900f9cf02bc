"""The queue of `--retry-failed`: links whose fetch failed for a temporary reason, to be fetched once more.

A closed increment never changes. What failed in it is fetched again by a later increment, whose `retry/`
lists the links as they entered, with url_key, karma and submissions; from there on they are pages of that
increment like any other, in corpus order, too. An increment that is still open lists its own failures, too.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl.outcomes import is_temporary
from dataprep.links.karma import SCHEMA
from dataprep.store.files import publish_table, read_table
from dataprep.store.records import Record, commit, origin

STEP = "retry"


def queue(corpus: Corpus, increment: Increment) -> Record:
    """Commit one more queue: all links, of this increment and of those before it, that still fail.

    Memory: the links that fail, and the rows of one partition.
    """
    increments = [other for other in corpus.increments() if other.number <= increment.number]
    keys = pa.array(sorted(failing(corpus, increments)), pa.binary(16))
    found = [SCHEMA.empty_table()]
    for output in [output for increment in increments for output in increment.outputs("links", "links")]:
        links = read_table(corpus.root, [output])
        entered = links.filter(pc.field("url") != "")  # what was forgotten is empty
        found.append(entered.filter(pc.is_in(entered["url_key"], value_set=keys)))
    table = pa.concat_tables(found).sort_by("url_key")
    name = f"queue-{len(increment.records(STEP)) + 1:03d}"
    inputs = {
        f"{increment.path.name}/fetch": origin(increment.path, "fetch")
        for increment in increments
        if increment.closed
    }
    if not increment.closed:
        inputs |= {f"fetch/{record.part}": record.origin for record in increment.records("fetch")}
    output = publish_table(corpus.root, increment.path / STEP, name, table)
    record = Record(
        step=STEP,
        part=name,
        inputs=inputs,
        outputs={"links": output},
        entered=table.num_rows,
        passed=table.num_rows,
    )
    return commit(increment.path / STEP / f"{name}.json", record)


def failing(corpus: Corpus, increments: list[Increment]) -> set[bytes]:
    """The url_keys whose last fetch ended in a way that may be different next time."""
    failed: set[bytes] = set()
    for output in [output for increment in increments for output in increment.outputs("fetch", "fetches")]:
        table = read_table(corpus.root, [output], ["url_key", "outcome"])
        for key, outcome in zip(table["url_key"].to_pylist(), table["outcome"].to_pylist(), strict=True):
            (failed.add if is_temporary(outcome) else failed.discard)(key)
    return failed
