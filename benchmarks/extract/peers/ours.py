"""The stage `extract` over a corpus whose crawl is done, by so many children; prints how many documents."""

import sys
from pathlib import Path

from dataprep.corpus.directory import Corpus
from dataprep.extract import stage as extract


def main() -> None:
    corpus, children = Corpus.open(Path(sys.argv[1])), int(sys.argv[2])
    (increment,) = corpus.increments()
    documents = 0
    for number, pages in enumerate(extract.plan(corpus, increment)):
        documents += extract.run_part(corpus, increment, number, pages, children, lambda _: None).passed
    extract.sandboxes.close()  # so that what they used is counted
    print(documents)


if __name__ == "__main__":
    main()
