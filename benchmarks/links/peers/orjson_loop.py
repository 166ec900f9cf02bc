"""What one would write in an evening: a loop over lines with orjson, in memory. `orjson_loop.py DUMP OUT`.

It makes the same table of links, by the same rules and the same URL policy, and nothing else: no counts of
what was left, no index for the next month, no tolerance for broken lines.
"""

import io
import sys
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd

from dataprep.corpus.recipe import Links
from dataprep.corpus.urls import canonical
from dataprep.links.karma import SCHEMA
from dataprep.links.rules import MEDIA, REDDIT, extension

BLOCKED = REDDIT | MEDIA | {"wikipedia.org"}
BAR = 3


def main(dump: Path, out: Path) -> None:
    """Read a dump and write the links that enter."""
    extensions = Links().blocked_extensions
    seen: set[str] = set()
    posts: dict[bytes, list[tuple[int, int, str, int, str, str, str]]] = {}
    window = {zstd.DecompressionParameter.window_log_max: 31}
    with zstd.open(dump, "rb", options=window) as file:
        for line in io.BufferedReader(file, 1 << 20):
            row = orjson.loads(line)
            if row["is_self"] or row["over_18"] or row.get("removed_by_category"):
                continue
            try:
                link = canonical(row["url"])
            except ValueError:
                continue
            if link.site in BLOCKED or extension(link.url) in extensions or row["id"] in seen:
                continue
            seen.add(row["id"])
            number = int(row["id"], 36)
            post = (
                row["created_utc"],
                number,
                row["id"],
                row["score"],
                row["subreddit"],
                link.url,
                link.site,
            )
            posts.setdefault(link.key, []).append(post)
    rows = []
    for key in sorted(posts):
        found = sorted(posts[key])
        first = next((post for post in found if post[3] >= BAR), None)
        if first:
            rows.append(
                {
                    "url": first[5],
                    "url_key": key,
                    "site": first[6],
                    "karma": max(post[3] for post in found),
                    "first_seen": first[0],
                    "submissions": [
                        {"id": post[2], "created_utc": post[0], "score": post[3], "subreddit": post[4]}
                        for post in found
                    ],
                }
            )
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out, compression="zstd", row_group_size=16384)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
