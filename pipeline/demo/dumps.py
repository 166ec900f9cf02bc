"""Two monthly dumps of submissions in the true format, posting the demo web's links as a crowd would.

NDJSON in zstd with a 2 GiB window. As in the real ones: scores with a heavy tail, the same page posted again
and again with other tracking parameters, under https, below the bar; self posts, pictures, Reddit's own
pages, ids that come twice, a line that is broken.
"""

from __future__ import annotations

import calendar
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backports import zstd

from pipeline.demo.sites import Link

MONTHS = ((2013, 8), (2013, 9))
BAR = 3  # karma that the demo's recipe asks of a link (Radford et al. 2019, section 2.1)
WINDOW_LOG = 31  # 2 GiB, as the real dumps have
FIRST_ID = int("1jf000", 36)  # ids of August 2013 begin about here
SUBREDDITS = ("Python", "programming", "learnpython", "MachineLearning", "compsci", "datasets", "coding")
TRACKING = (
    "utm_source=reddit&amp;utm_medium=social",
    "utm_campaign=weekly",
    "fbclid=IwAR0demo",
    "gclid=demo",
)
BROKEN = b'{"id": "1jzzzz", "name": "t3_1jzzzz", "url": "http://docs.std'

# Each of these is left for a reason of its own.
ELSEWHERE = (
    ("http://www.reddit.com/r/Python/wiki/index", "Our wiki"),
    ("https://i.redd.it/8h2k5demo.jpg", "My desk"),
    ("http://redd.it/1jdemo", "Remember this thread?"),
    ("http://i.imgur.com/demo0001.png", "This error message"),
    ("http://imgur.com/a/demo", "How I see recursion"),
    ("http://www.youtube.com/watch?v=demodemo001", "A talk on generators"),
    ("ftp://ftp.stdlib.test/pub/python.tar", "An old mirror"),
    ("http://", "I forgot the link"),
)


@dataclass(frozen=True)
class DemoSubmission:
    """One act of posting: what was posted in which month, and how well it did."""

    month: int
    url: str
    title: str
    score: int
    over_18: bool = False
    text: str = ""


def write_dumps(links: list[Link], directory: Path, seed: int = 0) -> list[Path]:
    """Write `RS_2013-08.zst` and `RS_2013-09.zst`; the same links and seed give the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for (year, month), lines in zip(MONTHS, monthly_lines(links, seed), strict=True):
        path = directory / f"RS_{year}-{month:02}.zst"
        beside = path.with_suffix(".part")
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: 3,
            zstd.CompressionParameter.window_log: WINDOW_LOG,
        }
        with zstd.open(beside, "wb", options=options) as file:
            file.writelines(line + b"\n" for line in lines)
        beside.replace(path)
        paths.append(path)
    return paths


def monthly_lines(links: list[Link], seed: int) -> list[list[bytes]]:
    """The lines of each month's dump."""
    rng = random.Random(seed)
    posts = list(_posts(links, rng))
    months: list[list[dict[str, Any]]] = []
    for number in range(len(MONTHS)):
        months.append(_submissions([post for post in posts if post.month == number], number, rng))
    # Dumps are snapshots: a month begins with the last ids of the one before, and some ids come twice.
    months[1] = [row | {"score": row["score"] + 1} for row in months[0][-5:]] + months[1]
    for rows in months:
        rows += rng.sample(rows, len(rows) // 50)
    months[0][0] = months[0][0] | {"score": str(months[0][0]["score"])}  # early dumps hold some as strings
    lines = [[json.dumps(row, ensure_ascii=False).encode() for row in rows] for rows in months]
    for month in lines:
        month.insert(len(month) // 2, BROKEN)
    return lines


def _posts(links: list[Link], rng: random.Random) -> Iterator[DemoSubmission]:
    """Who posts what, in no order of time."""
    for link in links:
        month = 0 if rng.random() < 0.6 else 1
        fate = rng.random() if link.kind == "page" else 1.0
        if fate < 0.05:  # never rises
            yield DemoSubmission(month, link.url, link.title, rng.randrange(BAR))
        elif fate < 0.09:  # overlooked in August, rises in September
            yield DemoSubmission(0, link.url, link.title, rng.randrange(BAR))
            yield DemoSubmission(1, link.url, f"{link.title}, again", score(rng))
        elif fate < 0.10:
            yield DemoSubmission(month, link.url, link.title, score(rng), over_18=True)
        else:
            yield DemoSubmission(month, _tracked(link.url, rng, 0.2), link.title, score(rng))
            yield from _reposts(link, month, rng)
    for url, title in ELSEWHERE:
        yield DemoSubmission(rng.randrange(2), url, title, score(rng))
        yield DemoSubmission(rng.randrange(2), url, title, score(rng))
    for link in rng.sample(links, min(len(links), 60)):
        question = f"I have read {link.url} twice and still wonder. What do you use it for?"
        yield DemoSubmission(rng.randrange(2), "", f"What is {link.title} for?", score(rng), text=question)


def _reposts(link: Link, month: int, rng: random.Random) -> Iterator[DemoSubmission]:
    """The same page again: tracked, as an http/https twin, in the same month or the next."""
    if rng.random() < 0.15:
        yield DemoSubmission(month, _tracked(link.url, rng, 1.0), f"{link.title} (x-post)", score(rng))
    if rng.random() < 0.1 and month == 0:
        yield DemoSubmission(1, _tracked(link.url, rng, 0.5), f"{link.title}, one month on", score(rng))
    if rng.random() < 0.05 and month == 0:
        yield DemoSubmission(1, link.url.replace("http://", "https://"), link.title, score(rng))


def score(rng: random.Random) -> int:
    """A score at or over the bar, with the tail of real top posts: median 60, a tenth over 500."""
    return max(BAR, round(rng.lognormvariate(4.1, 1.7)))


def _tracked(url: str, rng: random.Random, share: float) -> str:
    if rng.random() >= share:
        return url
    fragment = "#top" if rng.random() < 0.3 else ""
    return f"{url}?{rng.choice(TRACKING)}{fragment}"


def _submissions(posts: Iterable[DemoSubmission], number: int, rng: random.Random) -> list[dict[str, Any]]:
    """Posts as rows of a dump, in the order of time."""
    year, month = MONTHS[number]
    start = calendar.timegm((year, month, 1, 0, 0, 0))
    length_s = calendar.monthrange(year, month)[1] * 86_400
    posts = list(posts)
    rng.shuffle(posts)
    times = sorted(rng.sample(range(start, start + length_s), len(posts)))
    return [_row(post, created, rng) for post, created in zip(posts, times, strict=True)]


def _row(post: DemoSubmission, created_utc: int, rng: random.Random) -> dict[str, Any]:
    """One submission with the dumps' fields; ids count up with time, as Reddit's do."""
    subreddit = rng.choice(SUBREDDITS)
    id36 = _base36(FIRST_ID + created_utc - calendar.timegm((*MONTHS[0], 1, 0, 0, 0)))
    slug = "_".join("".join(c if c.isalnum() else " " for c in post.title.lower()).split()[:8])
    permalink = f"/r/{subreddit}/comments/{id36}/{slug}/"
    downs = int(post.score * rng.uniform(0.05, 0.5))
    is_self = bool(post.text)
    return {
        "id": id36,
        "name": f"t3_{id36}",
        "created_utc": created_utc,
        "subreddit": subreddit,
        "subreddit_id": f"t5_{_base36(2_000_000 + SUBREDDITS.index(subreddit))}",
        "title": post.title,
        "score": post.score,
        "ups": post.score + downs,
        "downs": downs,
        "num_comments": int(post.score * rng.uniform(0.05, 0.6)),
        "domain": f"self.{subreddit}" if is_self else post.url.partition("://")[2].partition("/")[0],
        "url": f"http://www.reddit.com{permalink}" if is_self else post.url,
        "permalink": permalink,
        "is_self": is_self,
        "over_18": post.over_18,
        "selftext": post.text,
    }


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
