"""`corpus score`: measure anew what other versions of the measurements scored.

Documents measured by different versions must not be judged side by side, and a closed increment keeps the
scores of its time. So a build refuses a mixture (`score.refuse_mixture`), and this brings all to one version.
"""

from __future__ import annotations

import shutil

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Corpus, Increment
from dataprep.ingest import score_documents, summary
from dataprep.score import stage as score
from dataprep.store.files import replace
from dataprep.store.pool import Progress


def rescore(corpus: Corpus, workers: int, progress: Progress) -> list[Increment]:
    """Bring all scores to this version; returns the increments that it measured.

    The builds go first: they decided by what is replaced here. Killed, it is done by running it again; until
    then no build is made. Raises DataError when forgotten documents could not displace their copies any more.
    """
    tombstones.refuse_old_shingles(corpus.root)
    names = score.outdated(corpus)
    chosen = [increment for increment in corpus.increments() if increment.path.name in names]
    if chosen:
        shutil.rmtree(corpus.root / "builds", ignore_errors=True)
    for increment in chosen:
        score_documents(corpus, increment, workers, progress)
    for increment in corpus.increments():
        if increment.closed:
            replace(increment.summary_path, summary(corpus, increment))
    return chosen
