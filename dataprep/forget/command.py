"""`corpus forget` from what was asked for to what was removed, in the corpus and in its token shards.

`preview` is --dry-run: it counts the same and changes nothing. `undo` takes a tombstone back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataprep import all_records
from dataprep.corpus.directory import Corpus
from dataprep.corpus.tombstones import Tombstone, documents, tombstones, unfinished
from dataprep.corpus.urls import key_of
from dataprep.errors import DataError, UsageError
from dataprep.forget import run, scope
from dataprep.pack import forget as packed
from dataprep.store import locks, requests
from dataprep.store.pool import Progress
from dataprep.store.records import Record

NOTHING = "nothing to forget; give --url, --site or --submission. Nothing is left of an earlier call"


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

    def __str__(self) -> str:
        return next(f"--{name} {value}" for name, value in vars(self).items() if value)

    def __bool__(self) -> bool:
        return bool(self.url or self.site or self.submission)

    def tombstone(self, corpus: Corpus) -> Tombstone:
        """What is to stay out of the corpus."""
        if self.url:
            return scope.of_url(corpus, self.url)
        if self.site:
            return scope.of_site(corpus, self.site)
        return scope.of_submission(corpus, self.submission)

    def is_of(self, tombstone: Tombstone) -> bool:
        """Whether a tombstone was made of the same thing."""
        if self.site:
            return tombstone.sites == [scope.site_named(self.site)]
        if self.submission:
            return tombstone.submissions == [self.submission]
        of_url = not (tombstone.sites or tombstone.submissions)
        return of_url and key_of(self.url).hex() in tombstone.url_keys


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What a call removed: links, documents, links that only lost a submission, documents of token shards."""

    anything: bool
    """A tombstone was carried out, or would be, though nothing of it may have been in the corpus."""
    links: int
    documents: int
    lists: int
    tokens: dict[str, int]


def forget(
    corpus: Corpus, asked: Asked, tokens: Sequence[Path], progress: Progress, ahead: bool = False
) -> Removed:
    """Finish what an earlier call began, then forget what is asked for, then erase it from token shards.

    ahead: also keep out a site of which the corpus holds nothing. Raises UsageError when there is nothing to
    do, DataError for such a site without `ahead`, and while another command is at work.
    """
    with requests.alone(corpus.root):
        if not (asked or tokens) and unfinished(corpus.root) is None:
            raise UsageError(NOTHING)
        records = [_carry_out(corpus, progress)]
        if asked:
            run.begin(corpus, _tombstone(corpus, asked, ahead))
        records.append(_carry_out(corpus, progress))
        erased = {}
        for directory in tokens:
            with requests.alone(directory):
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


def preview(
    corpus: Corpus, asked: Asked, tokens: Sequence[Path], ahead: bool = False
) -> tuple[Removed, list[str]]:
    """What `forget` would remove, and the URLs of it; changes nothing. Raises as `forget` does."""
    if not (asked or tokens):
        raise UsageError(NOTHING)
    with locks.reading(corpus.root):
        run.refuse_half_read(corpus)
        all_records.refuse_losses(corpus)
        tombstone = _tombstone(corpus, asked, ahead) if asked else Tombstone()
        new = not run.stays_out(corpus, tombstone)
        found = scope.find_scope(corpus, tombstone if new else Tombstone())
        doc_ids = documents(corpus.root) | found.doc_ids
        removed = Removed(
            anything=new,
            links=found.links,
            documents=len(found.documents),
            lists=len(found.relisted),
            tokens={str(each): packed.count(corpus, each, doc_ids) for each in tokens},
        )
        return removed, scope.urls(corpus, found)


def undo(corpus: Corpus, asked: Asked, progress: Progress) -> None:
    """Take back the tombstones of a thing of which nothing was in the corpus.

    Raises DataError when there is none, or anything was removed under one.
    """
    with requests.alone(corpus.root):
        _carry_out(corpus, progress)
        numbers = [number for number, each in tombstones(corpus.root).items() if asked.is_of(each)]
        if not numbers:
            raise DataError(f"{corpus.root}: has no tombstone of {asked}; nothing to undo")
        run.take_back(corpus, numbers)


def _tombstone(corpus: Corpus, asked: Asked, ahead: bool) -> Tombstone:
    """The tombstone of what is asked for; raises DataError for a site of which nothing is there."""
    tombstone = asked.tombstone(corpus)
    if asked.site and not run.stays_out(corpus, tombstone):
        scope.refuse_unknown(corpus, tombstone.sites[0], ahead)
    return tombstone


def _carry_out(corpus: Corpus, progress: Progress) -> Record | None:
    """Carry out the tombstone that is not done yet, if there is one."""
    if unfinished(corpus.root) is None:
        return None
    with progress("forget", len(list(all_records.record_paths(corpus))), "records") as tick:
        return run.finish(corpus, tick)
