"""`corpus score`: measure anew what other versions of the measurements scored.

Documents measured by different versions must not be judged side by side, and a closed increment keeps the
scores of its time. So a build refuses a mixture (`score.refuse_mixture`), and this brings all to one version.
"""

from __future__ import annotations

from dataprep import steps
from dataprep.corpus import tombstones
from dataprep.corpus.directory import Corpus, Facts, Increment
from dataprep.ingest import summary
from dataprep.score import stage as score
from dataprep.store import root_manifest
from dataprep.store.files import replace
from dataprep.store.pool import Progress
from dataprep.store.step import LocalPool, run_step


def rescore(corpus: Corpus, workers: int, progress: Progress) -> list[Increment]:
    """Bring all scores to this version; returns the increments that it measured.

    The builds go first: they decided by what is replaced here. Killed, it is finished by running it again:
    until all is measured, no build is made, and until the summaries are written, `verify` names them.
    Raises DataError when forgotten documents could not displace their copies any more.
    """
    tombstones.refuse_old_shingles(corpus.root)
    names = score.outdated(corpus)
    chosen = [increment for increment in corpus.increments() if increment.path.name in names]
    if chosen and (corpus.root / "builds").exists():
        root_manifest.release(corpus.root, ["builds"])
        corpus.discard(corpus.root / "builds")
    for increment in chosen:
        run_step(steps.BY_NAME[score.STEP], Facts(corpus, increment), LocalPool(workers), progress)
    for increment in corpus.increments():
        if increment.closed:
            replace(increment.summary_path, summary(increment))
    return chosen
