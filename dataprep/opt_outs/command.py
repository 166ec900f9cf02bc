"""`corpus opt-outs`: check, list what was found, forget it.

    pages of the corpus -> jobs/opt-outs (a journal, while sites are asked) -> opt-outs.json -> a tombstone

What is forgotten are the pages that have opted out, by their links. Later links to their sites are asked by
the crawl that meets them; `corpus forget --site` keeps out a whole site.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dataprep.corpus import known_files
from dataprep.corpus.directory import JOBS, Corpus
from dataprep.corpus.tombstones import Tombstone, unfinished
from dataprep.crawl.outcomes import NOBODY_THERE, is_temporary
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.turns import SitesUnderCrawl
from dataprep.errors import UsageError
from dataprep.forget import run
from dataprep.forget.command import Asked, Removed, forget
from dataprep.opt_outs.pages import pages_of
from dataprep.store import locks, requests
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import replace
from dataprep.store.pool import Progress

RESULT = "opt-outs.json"
WORK = f"{JOBS}/opt-outs"
DENIED = "robots.txt Disallow"
"""The signal of a page that our agent may not fetch any more: no signal about training."""


@dataclass(frozen=True, kw_only=True)
class SiteOptOut:
    """Pages of a site that have opted out by one signal, by url_key (hex), and their documents.

    of_training: else only our agent is shut out. example: the address of one of the pages.
    """

    site: str
    signal: str
    of_training: bool
    documents: int
    example: str
    pages: list[str]


@dataclass(frozen=True, kw_only=True)
class OptOuts:
    """What a check has found. asked: when it began (ISO, UTC). unknown: pages that gave no answer, by
    outcome; unaddressed: documents without an address on the web."""

    asked: str
    agent: str
    sites: int
    pages: int
    found: list[SiteOptOut] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)
    unaddressed: int = 0

    def chosen(self, denied: bool) -> list[SiteOptOut]:
        """What has opted out of training and, if so wished, what shuts our agent out."""
        return [each for each in self.found if each.of_training or denied]


def check(corpus: Corpus, settings: CrawlSettings, pages: int, progress: Progress) -> OptOuts:
    """Ask the sites of the corpus again and write down their opt-outs; a killed check is resumed.

    pages: how many pages of each host are asked for, for headers and meta elements. Sites that a crawl is
    asking are left for the next check.
    Raises DataError while another check is at work.
    """
    from dataprep.opt_outs.ask import ask  # with aiohttp, which only asking needs

    work = corpus.root / WORK
    work.mkdir(parents=True, exist_ok=True)
    with locks.alone(work):
        known = pages_of(corpus)
        with progress("ask", len(known.targets), "pages") as tick:
            question, answers = ask(
                known.targets,
                settings,
                pages,
                journal=work / "answers.jsonl",
                busy=SitesUnderCrawl(corpus.root),
                tick=tick,
            )
        groups: dict[tuple[str, str, bool], list[bytes]] = defaultdict(list)
        unknown: Counter[str] = Counter()
        for key, answer in answers.items():
            if answer.signal:
                groups[answer.site, answer.signal, True].append(key)
            elif answer.outcome == "robots_denied":
                groups[answer.site, DENIED, False].append(key)
            elif _is_unknown(answer.outcome):
                unknown[answer.outcome] += 1
        address = {target.url_key: target.url for target in known.targets}
        found = [
            SiteOptOut(
                site=site,
                signal=signal,
                of_training=of_training,
                documents=sum(known.documents[key] for key in keys),
                example=min(address[key] for key in keys),
                pages=sorted(key.hex() for key in keys),
            )
            for (site, signal, of_training), keys in groups.items()
        ]
        result = OptOuts(
            asked=question.began.isoformat(timespec="seconds"),
            agent=question.agent,
            sites=len({target.site for target in known.targets}),
            pages=len(known.targets),
            found=sorted(found, key=lambda each: (-each.documents, each.site, each.signal)),
            unknown=dict(unknown.most_common()),
            unaddressed=known.unaddressed,
        )
        with known_files.rewriting(corpus.root, corpus.root / RESULT):
            replace(corpus.root / RESULT, dump(result))
        if settings.hours is None or not unknown["deferred"]:  # else the next check goes on
            shutil.rmtree(work)
            with suppress(OSError):  # other plans are there
                work.parent.rmdir()
    return result


def last(corpus: Corpus) -> OptOuts:
    """What the last check has found; raises UsageError when there was none since the last forget."""
    path = corpus.root / RESULT
    if not path.exists():
        raise UsageError(f"{path}: is missing, because no check was finished; give --check to ask the sites")
    return load(path, OptOuts, "ask again with --check")


def forget_found(
    corpus: Corpus, chosen: Sequence[SiteOptOut], tokens: Sequence[Path], progress: Progress
) -> Removed:
    """Forget the pages that have opted out, by one tombstone; or finish a forget that was killed."""
    with requests.alone(corpus.root):
        if unfinished(corpus.root) is None:
            run.begin(corpus, Tombstone(url_keys=sorted({key for each in chosen for key in each.pages})))
    return forget(corpus, Asked(), tokens, progress)


def _is_unknown(outcome: str) -> bool:
    """Whether the host of a page gave no answer."""
    return is_temporary(outcome) or outcome in NOBODY_THERE
