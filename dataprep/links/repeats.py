"""Step `repeats` of one range of submission numbers: which posts repeat a submission that was counted before.

Each submission counts once over the whole corpus: of several posts with one id the first counts, in the order
of the dumps and of their lines. A part also writes its piece of the index of submissions. Memory: the
submissions of the range, at about 128 bytes each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import INDEX, Facts
from dataprep.links import posts
from dataprep.links.index import LinkIndex, index_before
from dataprep.store.external_sort import ranges
from dataprep.store.files import publish_array
from dataprep.store.npy import between, mapped
from dataprep.store.step import Made, Part, Save, Task, read_step

STEP = "repeats"
NUMBER_BYTES = 128
"""What a post takes in memory while its range is sorted; a submission of the index takes a quarter."""

REPEAT = np.dtype([("key_high", "<u8"), ("place", "<u8")])
"""A post that repeats a submission, by its URL key and its place."""


def plan(scope: Facts, save: Save) -> list[Part]:
    """Equal ranges of numbers; how many depends on counts and the recipe's `partition_mb` alone."""
    rows = sum(part.passed for part in read_step(scope, posts.STEP).parts)
    known = sum(piece.rows for piece in index_before(scope.corpus, scope.increment)[0].submissions)
    limit = scope.corpus.recipe.collect.partition_mb * 1e6 / NUMBER_BYTES
    number = int((rows + known / 4) / limit) + 1
    return [
        Part(
            name=f"part-{place:05d}",
            size=rows * (place + 1) // number - rows * place // number,
            spec={"range": place, "of": number},
        )
        for place in range(number)
    ]


def run(task: Task[Facts]) -> Made:
    """Compare the submissions of one range with each other and with those that earlier increments counted."""
    scope, spec = task.scope, task.part.spec
    low, high = ranges(spec["of"])[spec["range"]]
    table = posts.read(scope, "numbers", low, high)
    numbers, keys, places = (table[name].to_numpy() for name in posts.NUMBERS.names)
    order = np.lexsort((places, numbers))
    numbers, keys, places = numbers[order], keys[order], places[order]
    before, _ = index_before(scope.corpus, scope.increment)
    counted = LinkIndex.load(scope.root, before).submissions_in(low, high)
    again = np.isin(numbers, counted)
    again[1:] |= numbers[1:] == numbers[:-1]
    repeats = np.empty(int(again.sum()), REPEAT)
    repeats["key_high"], repeats["place"] = keys[again], places[again]
    stem = f"{scope.increment.key}-submissions-{task.part.name}"
    index = publish_array(scope.root, scope.root / INDEX, stem, np.union1d(counted, numbers))
    task.tick(table.num_rows)
    return Made(
        outputs={
            "repeats": task.publish_array(repeats[np.lexsort((repeats["place"], repeats["key_high"]))]),
            "submissions": index,
        },
        entered=table.num_rows,
        passed=table.num_rows - len(repeats),
        reasons={"repeated_submission": len(repeats)} if len(repeats) else {},
    )


def inputs(scope: Facts) -> dict[str, str]:
    """The submissions of the increments before this one."""
    return index_before(scope.corpus, scope.increment)[1]


def places(scope: Facts, low: int, high: int) -> npt.NDArray[np.uint64]:
    """Of the posts whose URL key's first half is in [low, high), the places of those that are repeats."""
    found = []
    for output in read_step(scope, STEP).outputs("repeats"):
        repeats = between(mapped(scope.root / output.path), "key_high", low, high)
        found.append(np.array(repeats["place"]))  # a copy, so that the file is not held open
    return np.concatenate(found)
