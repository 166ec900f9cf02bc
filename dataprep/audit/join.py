"""`outbound corpus verify --join`: one of many processes, on any machines, that verify a corpus together.

Each process runs the same checks as one that verifies alone, and shares their calls with the others. All
return the report of the first one that is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from dataprep.audit.gc import VERIFIED
from dataprep.audit.verification import Verification, forget_gone, state_of, tidy
from dataprep.audit.verify import Report, all_problems, report
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.store.calls import Shared
from dataprep.store.checksummed_json import dump, load
from dataprep.store.claiming import Claiming
from dataprep.store.claims import BadMachine, GivenUp
from dataprep.store.files import write_once
from dataprep.store.pool import Progress
from dataprep.store.presence import Presence
from dataprep.store.requests import Excluded, newest
from dataprep.store.workers import forget_worker


def join(presence: Presence, tokens: Sequence[Path], once: Path | None, progress: Progress) -> Report:
    """Verify a corpus, and token shards of it, with others; returns what all of them report.

    once: file of the report; when it exists already, it is returned, and nothing is checked. The verification
    begins anew after each command that removes files, and when files have changed meanwhile.

    Raises as `problems`, GivenUp when parts failed too often, BadMachine when this machine cannot go on, and
    Stopped when it was asked to end before.
    """
    root = presence.root
    try:
        with presence.kept():
            found = _join(presence, tokens, once, progress)
            presence.worker.stage = VERIFIED  # of two that end at once, one sees that none is left
            presence.show([])
            tidy(root)
            return found
    finally:
        with suppress(OSError):
            forget_worker(root, presence.worker)


def _join(presence: Presence, tokens: Sequence[Path], once: Path | None, progress: Progress) -> Report:
    root = presence.root
    while True:
        if once and once.exists():
            return load(once, Report, "remove it, and all is verified again")
        state = state_of(root, tokens)
        verification = Verification.of(root, state)
        try:
            verification.begin()
            found = _found(verification, presence, tokens, progress)
            if once:
                write_once(once, dump(found))
            return found
        except (Excluded, DataError, OSError) as error:
            if isinstance(error, Excluded) or newest(root) > presence.worker.heeds:
                presence.stand_aside()
            elif not _may_be_of_changes(error) or (verification.stands and state_of(root, tokens) == state):
                raise


def _found(
    verification: Verification, presence: Presence, tokens: Sequence[Path], progress: Progress
) -> Report:
    corpus = Corpus.open(verification.root, damaged=True)
    with closing(Claiming(presence)) as claiming:  # whose processes keep step files in memory
        found = all_problems(corpus, tokens, Shared(verification, claiming, progress, "checks"))
    forget_gone(corpus.root)  # else those that were killed would be listed as files that belong to nothing
    return verification.reported(report(corpus, found))


def _may_be_of_changes(error: Exception) -> bool:
    """Whether an error may come of files that others change, or of what others have removed."""
    return isinstance(error, DataError | FileNotFoundError) and not isinstance(error, GivenUp | BadMachine)
