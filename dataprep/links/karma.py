"""The karma bar: which URLs have been upvoted enough to enter the corpus.

The posts of one range of URL keys are put against the karma that is known of these URLs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.recipe import Links
from dataprep.links.index import URL, find, merged

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("url_key", pa.binary(16)),
        ("site", pa.string()),
        ("karma", pa.int64()),
        ("first_seen", pa.int64()),
        (
            "submissions",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.string()),
                        ("created_utc", pa.int64()),
                        ("score", pa.int64()),
                        ("subreddit", pa.string()),
                    ]
                )
            ),
        ),
    ]
)
"""A URL that entered. url and first_seen are those of the post with which it reached the bar."""


@dataclass(frozen=True, kw_only=True)
class Entered:
    """What became of a range: `links` (SCHEMA, sorted by key) enter, `urls` is the index after it.

    Every post is in a link or in one of the reasons: posts = links + sum(reasons).
    """

    links: pa.Table
    urls: npt.NDArray[np.void]
    reasons: dict[str, int]


def enter(posts: pa.Table, known: npt.NDArray[np.void], rules: Links, increment: int) -> Entered:
    """Decide over the URLs of `posts` (candidates.POSTS, each submission once).

    known: the index's URLs of the same range. A URL enters with the first post, in the order of time, that
    reaches the bar: by its own score, or with those before it when the rule is `sum`. That it is this post,
    not the URL's first, makes the order of documents the same for every chronological split of the dumps into
    increments. Memory: about four times the posts.
    """
    order = [posts[name].to_numpy() for name in ("number", "created_utc", "key_low", "key_high")]
    posts = posts.take(np.lexsort(order))
    keys = np.column_stack([posts["key_high"].to_numpy(), posts["key_low"].to_numpy()])
    new = np.ones(len(keys), np.bool_)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    start = np.flatnonzero(new)  # (URLs,) the first post of each
    url_of = np.cumsum(new) - 1  # (posts,) the URL of each
    number_of_posts = np.diff(np.append(start, len(keys)))

    rows = find(known, keys[start])
    before = np.zeros(len(start), URL)
    before[rows >= 0] = known[rows[rows >= 0]]
    scores = posts["score"].to_numpy()
    total = np.cumsum(scores)
    running = total - (total - scores)[start][url_of] + before["karma"][url_of]

    reached = np.flatnonzero((running if rules.karma_rule == "sum" else scores) >= rules.karma)
    url, first = np.unique(url_of[reached], return_index=True)
    fresh = before["entered"][url] == 0
    url, bar = url[fresh], reached[first[fresh]]  # the URLs that enter, and their posts that reach the bar

    after = before.copy()
    after["key"] = keys[start]
    last = start + number_of_posts - 1
    after["karma"] = running[last] if len(last) else 0
    after["entered"][url] = increment

    already = int(number_of_posts[before["entered"] > 0].sum())
    entering = int(number_of_posts[url].sum())
    reasons = {
        "already_entered": already,
        "merged": entering - len(url),
        "below_karma": len(keys) - already - entering,
    }
    best = np.maximum.reduceat(scores, start) if len(start) else scores
    karma = after["karma"][url] if rules.karma_rule == "sum" else best[url]
    links = _links(posts, url_of=url_of, url=url, bar=bar, karma=karma)
    return Entered(links=links, urls=merged(known, rows, after), reasons=reasons)


def _links(
    posts: pa.Table,
    *,
    url_of: npt.NDArray[np.int64],
    url: npt.NDArray[np.int64],
    bar: npt.NDArray[np.int64],
    karma: npt.NDArray[np.int64],
) -> pa.Table:
    """Rows of SCHEMA: of the URLs numbered `url`, which reach the bar at the posts `bar`."""
    theirs = np.isin(url_of, url)
    listed = posts.filter(pa.array(theirs))
    offsets = np.append(np.flatnonzero(np.diff(url_of[theirs], prepend=-1)), listed.num_rows)
    fields = SCHEMA.field("submissions").type.value_type
    submissions = pa.StructArray.from_arrays(
        [listed[field.name].combine_chunks() for field in fields], fields=list(fields)
    )
    chosen = posts.take(bar)
    keys = np.column_stack([chosen["key_high"].to_numpy(), chosen["key_low"].to_numpy()]).astype(">u8")
    columns = [
        chosen["url"].combine_chunks(),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(url), [None, pa.py_buffer(keys.tobytes())]),
        chosen["site"].combine_chunks(),
        pa.array(karma, pa.int64()),
        chosen["created_utc"].combine_chunks(),
        pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), submissions),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def naming(submissions: pa.ChunkedArray, identifiers: list[str]) -> pa.Array:
    """The rows of a `submissions` column that list one of the ids."""
    ids = pc.struct_field(pc.list_flatten(submissions), "id")
    listed = pc.is_in(ids, value_set=pa.array(identifiers, pa.string()))
    return pc.unique(pc.list_parent_indices(submissions).filter(listed))
