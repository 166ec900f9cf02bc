"""The directory of a corpus."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Recipe
from dataprep.errors import DataError


def test_increments_that_begin_at_the_same_instant_never_share_a_number(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(8)]
    for turn in range(20):
        corpus = Corpus.create(tmp_path / str(turn), Recipe(name="c"))
        start = Barrier(len(names))

        def begin(name: str, corpus: Corpus = corpus, start: Barrier = start) -> Increment | None:
            start.wait()
            try:
                return corpus.increment(name)
            except DataError:
                return None

        with ThreadPoolExecutor(len(names)) as pool:
            begun = [increment for increment in pool.map(begin, names) if increment]
        assert len(begun) <= 1
        assert [each.path for each in corpus.increments()] == [each.path for each in begun]
