"""A corpus that was fetched to its end, and what one command makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.cli import result
from support.servers.web import serving
from support.whole_corpus import text

PAGES = 12


def make(home: Path) -> None:
    """`corpus` of an import and a crawl, of which nothing is extracted yet; `whole`, up to its shards."""
    (home / "recipe.yaml").write_text("name: work\n")
    rows = [{"text": text(n), "url": f"http://b.test/{n}"} for n in (3, 100, 101)]
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    posts = [
        {"id": f"{n}", "url": f"http://c{n}.test/{n}", "score": 9, "created_utc": 100 + n, "subreddit": "x"}
        for n in range(PAGES)
    ]
    (home / "RS_jan.json").write_text("\n".join(map(json.dumps, posts)))
    corpus = home / "corpus"
    result("corpus", "init", corpus, "--recipe", home / "recipe.yaml")
    result("corpus", "import", corpus, home / "rows.jsonl", "--kind", "jsonl", "--workers", 1)
    with serving() as site:
        for n in range(PAGES):
            site.html(
                f"http://c{n}.test/{n}", f"<html><body><article><p>{text(n)}</p></article></body></html>"
            )
        crawl = ("--allow-loopback", f"--connect-to=::127.0.0.1:{site.port}", "--delay", 0, "--workers", 1)
        result("corpus", "add", corpus, home / "RS_jan.json", *crawl, "--until", "fetch")
        whole = home / "whole"
        shutil.copytree(corpus, whole)
        result("corpus", "add", whole, home / "RS_jan.json", *crawl)


def files(root: Path) -> dict[str, bytes]:
    """All files of a corpus but those of workers, jobs and locks."""
    found = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    named = {str(path.relative_to(root)): path.read_bytes() for path in found}
    return {name: content for name, content in named.items() if not name.startswith(("jobs/", "logs/"))}
