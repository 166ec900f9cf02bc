"""The step `extract` over a corpus whose crawl is done, by so many children; prints how many documents."""

import sys
from pathlib import Path

from dataprep.corpus.directory import Corpus, Facts
from dataprep.extract import stage as extract
from dataprep.steps import BY_NAME
from dataprep.store.step import make_part, plan_step


def main() -> None:
    corpus, children = Corpus.open(Path(sys.argv[1])), int(sys.argv[2])
    (increment,) = corpus.increments()
    step, scope, documents = BY_NAME[extract.STEP], Facts(corpus, increment), 0
    for part in plan_step(step, scope).parts:
        documents += make_part(step, scope, part.name, children, lambda _: None).passed
    extract.sandboxes.close()  # so that what they used is counted
    print(documents)


if __name__ == "__main__":
    main()
