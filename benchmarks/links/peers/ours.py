"""Our steps, with all that they always do: counts, files, index, records. `ours.py CORPUS NAME DUMP`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Links, Recipe

RECIPE = Recipe(name="benchmark", collect=Collect(links=Links(blocked_sites=frozenset(["wikipedia.org"]))))


@contextmanager
def no_progress(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar that nobody sees."""
    yield lambda _: None


def main(root: Path, name: str, dump: Path) -> None:
    """Ingest one dump as an increment, and close it."""
    corpus = Corpus.create(root, RECIPE)
    increment = corpus.increment(name)
    ingest.enter_links(corpus, increment, [dump], 1, no_progress)
    (increment.path / "increment.json").write_text("{}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
