"""The rules of a recipe for one submission: the link that it gives, or the first reason why it gives none.

The bar of karma counts all submissions of a URL: it is in `karma`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from urllib.parse import urlsplit

import msgspec

from dataprep.corpus.recipe import Links
from dataprep.corpus.tombstones import NO_TOMBSTONES, REASON, Forgotten
from dataprep.corpus.urls import Canonical, canonical
from dataprep.links.dumps import LARGEST_NUMBER, Submission, number, true
from dataprep.store.file_damage import EXAMPLES

REDDIT = frozenset(["reddit.com", "redd.it", "redditmedia.com", "redditstatic.com"])
MEDIA = frozenset(
    "flickr.com giphy.com gfycat.com imgur.com instagram.com liveleak.com min.us minus.com pinterest.com "
    "photobucket.com qkme.me quickmeme.com soundcloud.com streamable.com tinypic.com twitch.tv vimeo.com "
    "youtu.be youtube.com".split()
)
"""Sites whose pages are pictures, films or sound; the file extensions of such are in `corpus/recipe.py`."""

REMOVED_TEXTS = frozenset(["[removed]", "[deleted]"])
HOSTS = 1 << 16
"""Hosts whose verdict is remembered."""

_PLAIN_START = re.compile(r"https?://[a-z0-9.-]+/")
"""Scheme and host, when the host depends on nothing that follows them in a URL."""


class Post(msgspec.Struct, gc=False, kw_only=True):
    """A submission that gives a link."""

    id: str
    subreddit: str
    created_utc: int
    score: int
    link: Canonical


class LinkFilter:
    """A recipe's rules and the tombstones, with what the rules said of the hosts seen lately; called with
    submissions.

    It gives the posts among them, and a reason for each of the others. This is the loop that every line of
    every dump goes through: the cheap fields are judged first, then the host, and only then a URL is parsed.
    """

    def __init__(self, rules: Links, forgotten: Forgotten = NO_TOMBSTONES) -> None:
        self._rules = rules
        self._forgotten = forgotten
        self._until = (
            int(datetime.combine(rules.until, time(), UTC).timestamp()) if rules.until else LARGEST_NUMBER
        )
        self._hosts: dict[str, str] = {}
        self.bad = 0
        """How many were no submissions: `bad_record`."""
        self.examples: list[str] = []
        """The first of them."""

    def __call__(self, submissions: list[Submission]) -> tuple[list[Post], list[str]]:
        posts: list[Post] = []
        reasons: list[str] = []
        rules, until, hosts = self._rules, self._until, self._hosts
        over_18, subreddits = rules.over_18, rules.blocked_subreddits
        forgotten = self._forgotten.submissions
        for submission in submissions:
            score, created = submission.score, submission.created_utc
            if type(score) is not int or type(created) is not int:
                score, created = number(score), number(created)
            if score is None or created is None:
                reasons.append(self._bad(submission))
            elif (is_self := submission.is_self) and true(is_self):
                reasons.append("self_post")
            elif not over_18 and (mature := submission.over_18) and true(mature):
                reasons.append("over_18")
            elif (
                submission.removed_by_category
                or submission.banned_by
                or submission.removal_reason
                or ((text := submission.selftext) and text in REMOVED_TEXTS)
            ):
                reasons.append("removed")
            elif created >= until:
                reasons.append("after_date")
            elif subreddits and (submission.subreddit or "").lower() in subreddits:
                reasons.append("blocked_subreddit")
            elif known := hosts.get((url := submission.url or "")[: url.find("/", 8) + 1]):
                reasons.append(known)
            elif isinstance(link := self._link(url), str):
                reasons.append(link)
            elif submission.id in forgotten:
                reasons.append(REASON)
            elif not (-LARGEST_NUMBER < score < LARGEST_NUMBER and created > -LARGEST_NUMBER):
                reasons.append(self._bad(submission))
            else:
                posts.append(
                    Post(
                        id=submission.id,
                        subreddit=submission.subreddit or "",
                        created_utc=created,
                        score=score,
                        link=link,
                    )
                )
        return posts, reasons

    def _bad(self, submission: Submission) -> str:
        self.bad += 1
        if len(self.examples) < EXAMPLES:
            score, created = (repr(value)[:40] for value in (submission.score, submission.created_utc))
            self.examples.append(
                f"id {submission.id[:40]}: score {score} and created_utc {created} are not both numbers"
            )
        return "bad_record"

    def _link(self, url: str) -> Canonical | str:
        """The link that a URL gives, or the reason against it."""
        try:
            link = canonical(url)
        except ValueError:
            return "no_link"
        start = url[: url.find("/", 8) + 1]  # "" when no slash ends the host
        known = self._hosts.get(start)
        if known is None:
            known = refused(link, self._rules)
            if _PLAIN_START.fullmatch(start):
                if len(self._hosts) >= HOSTS:
                    self._hosts.clear()
                self._hosts[start] = known
        if known:
            return known
        if self._forgotten.covers(link):
            return REASON
        return "blocked_extension" if extension(link.url) in self._rules.blocked_extensions else link


def refused(link: Canonical, rules: Links) -> str:
    """The reason why nothing is taken from a link's host, or "".

    A blocked name blocks all names under it.
    """
    if link.site in REDDIT:
        return "reddit"
    if rules.blocked_sites:
        labels = urlsplit(link.url).hostname or ""
        while labels:
            if labels in rules.blocked_sites:
                return "blocked_site"
            labels = labels.partition(".")[2]
    return "media_site" if link.site in MEDIA else ""


def extension(url: str) -> str:
    """The file name ending of a canonical URL's path in lower case, without the dot; "" if it has none.

    >>> extension("http://a.test/x.PDF?y=1.gz"), extension("http://a.test/.zip"), extension("http://a.test/")
    ('pdf', '', '')
    """
    path = url.partition("#")[0].partition("?")[0] if "?" in url or "#" in url else url
    stem, _, ending = path[path.rfind("/") + 1 :].rpartition(".")
    return ending.lower() if stem else ""
