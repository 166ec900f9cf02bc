"""Dead links, asked of a Wayback-style archive: `ARCHIVE/TIMESTAMPid_/URL` is a page as it once was.

`id_` asks for the bytes as they were captured, without the archive's own links and banner. The archive is one
site like any other: one owner, one pace, its own robots.txt. All of this is a matter of addresses: a request
to the archive is a Target whose URL is the archive's and whose `original` is the link's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from dataprep.corpus.urls import site_of
from dataprep.crawl.outcomes import NotFetched
from dataprep.crawl.redirects import followed
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Target

LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
"""A timestamp of an archive has fourteen digits; a damaged dump may claim a later time."""

_CAPTURE = re.compile(r"(https?://.+?)/(\d{1,14})(?:[a-z]{2}_)?/(https?://.+)")


def capture(archive: str, target: Target) -> Target:
    """What to ask of an archive for a target: the capture that is nearest to the day of its submission.

    >>> capture("http://web.test/all", Target("http://a.test/?b", b"", "a.test", 1375315200)).url
    'http://web.test/all/20130801000000id_/http://a.test/?b'
    >>> capture("http://web.test", Target("http://a.test/", b"", "a.test", 10**15)).url
    'http://web.test/99991231235959id_/http://a.test/'
    """
    seen = min(target.first_seen, LAST_SECOND)
    stamp = datetime.fromtimestamp(seen, UTC).strftime("%Y%m%d%H%M%S")
    url = f"{archive.rstrip('/')}/{stamp}id_/{target.url}"
    return replace(target, url=url, site=site_of(url), original=target.url)


def captured(url: str) -> str:
    """The address of which a URL of an archive is a capture, "" if it is none.

    >>> captured("http://web.test/all/20130801000000id_/http://a.test/?b"), captured("http://a.test/2013/x")
    ('http://a.test/?b', '')
    """
    capture = _CAPTURE.fullmatch(url)
    return capture[3] if capture else ""


def admitted(settings: CrawlSettings, archive: str) -> CrawlSettings:
    """The settings of a crawl of an archive, which may listen on a port that links may not name.

    >>> 1234 in admitted(CrawlSettings(), "http://web.test:1234/all").ports
    True
    """
    parts = urlsplit(archive)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return settings.model_copy(update={"ports": settings.ports | {port}})


def following(target: Target) -> Callable[[str, str], str]:
    """How redirects are resolved on the way to a target: as they stand, or within its archive."""
    return followed_within if target.original else followed


def followed_within(url: str, location: str) -> str:
    """Where an archive's redirect leads: to another capture, or to one of where the page had moved.

    Archives rewrite the Location of a captured redirect to a capture; where one does not, it is the old
    site's address, which is asked of the archive at the same date. Raises NotFetched when it is unusable.

    >>> followed_within("http://web.test/2013id_/http://a.test/x", "/2014/http://a.test/x")
    'http://web.test/2014id_/http://a.test/x'
    >>> followed_within("http://web.test/2013id_/http://a.test/x", "../y")
    'http://web.test/2013id_/http://a.test/y'
    """
    asked = _CAPTURE.fullmatch(url)
    if asked is None:
        raise NotFetched("bad_url", f"no capture of an archive: {url[:200]}")
    archive, stamp, original = asked.groups()
    absolute = followed(url, location)
    capture = _CAPTURE.fullmatch(absolute)
    if capture and site_of(absolute) == site_of(archive):
        return f"{capture[1]}/{capture[2]}id_/{capture[3]}"
    return f"{archive}/{stamp}id_/{followed(original, location)}"
