"""`corpus forget` from what was asked for to what was removed, in the corpus and in its token shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataprep import all_records
from dataprep.corpus.directory import Corpus
from dataprep.corpus.tombstones import Tombstone, unfinished
from dataprep.errors import UsageError
from dataprep.forget import run, scope
from dataprep.pack import forget as packed
from dataprep.store import locks
from dataprep.store.pool import Progress
from dataprep.store.records import Record


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One thing to forget: a URL, a registrable domain or a submission's id; nothing, to finish a forget."""

    url: str = ""
    site: str = ""
    submission: str = ""

    @staticmethod
    def of(*, url: str | None, site: str | None, submission: str | None) -> Asked:
        """What the options of a command ask for; raises UsageError for several things."""
        if sum(choice is not None for choice in (url, site, submission)) > 1:
            raise UsageError("give one of --url, --site and --submission at a time")
        return Asked(url=url or "", site=site or "", submission=submission or "")

    def __bool__(self) -> bool:
        return bool(self.url or self.site or self.submission)

    def tombstone(self, corpus: Corpus) -> Tombstone:
        """What is to stay out of the corpus."""
        if self.url:
            return scope.of_url(corpus, self.url)
        if self.site:
            return scope.of_site(corpus, self.site)
        return scope.of_submission(corpus, self.submission)


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What a call removed: links, documents, links that only lost a submission, documents of token shards."""

    anything: bool
    """A tombstone was carried out, though nothing of it may have been in the corpus."""
    links: int
    documents: int
    lists: int
    tokens: dict[str, int]


def forget(corpus: Corpus, asked: Asked, tokens: Sequence[Path], progress: Progress) -> Removed:
    """Finish what an earlier call began, then forget what is asked for, then erase it from token shards.

    Raises UsageError when there is nothing to do, DataError while another command is at work.
    """
    with locks.alone(corpus.root):
        if not (asked or tokens) and unfinished(corpus.root) is None:
            raise UsageError(
                "nothing to forget; give --url, --site or --submission. Nothing is left of an earlier call"
            )
        records = [_carry_out(corpus, progress)]
        if asked:
            run.begin(corpus, asked.tombstone(corpus))
        records.append(_carry_out(corpus, progress))
        erased = {}
        for directory in tokens:
            with locks.alone(directory):
                erased[str(directory)] = packed.forget(corpus, directory)
    done = [record for record in records if record]
    gone = [record.noted(run.Gone) for record in done]
    return Removed(
        anything=bool(done),
        links=sum(notes.links for notes in gone),
        documents=sum(record.passed for record in done),
        lists=sum(notes.lists for notes in gone),
        tokens=erased,
    )


def _carry_out(corpus: Corpus, progress: Progress) -> Record | None:
    """Carry out the tombstone that is not done yet, if there is one."""
    if unfinished(corpus.root) is None:
        return None
    with progress("forget", len(list(all_records.record_paths(corpus))), "records") as tick:
        return run.finish(corpus, tick)
