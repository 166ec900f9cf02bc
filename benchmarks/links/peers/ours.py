"""Our stage, with all that it always does: counts, spill, index, records. `ours.py CORPUS NAME DUMP`."""

import sys
from pathlib import Path

from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Links, Recipe
from dataprep.links import stage as links

RECIPE = Recipe(name="benchmark", collect=Collect(links=Links(blocked_sites=frozenset(["wikipedia.org"]))))


def main(root: Path, name: str, dump: Path) -> None:
    """Ingest one dump as an increment, and close it."""
    corpus = Corpus.create(root, RECIPE)
    increment = corpus.increment(name)
    links.run(corpus, increment, [dump], lambda _: None)
    (increment.path / "increment.json").write_text("{}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
