"""A corpus with every kind of file that `outbound` leaves, made by the commands themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.cli import result
from support.servers.web import Web, serving
from support.whole_corpus import inputs, text

ONE = ("--workers", 1)


def make(home: Path) -> None:
    """`corpus` and its `tokens`, in a directory that holds what they were made from, too.

    Two closed increments of dumps, the second with a retry, two imports, and a crawl that was stopped; a
    quality model; a forgotten page; two builds, decontaminated, of which one excludes another corpus; two
    generations of tokens; a report and an overlap.
    """
    inputs(home)
    corpus, other, tokens, bpe = (home / name for name in ("corpus", "other", "tokens", "bpe"))
    result("corpus", "init", other, "--recipe", home / "recipe.yaml")
    result("corpus", "import", other, home / "more.jsonl", "--kind", "jsonl", *ONE)
    sides = ("--good", home / "rows.jsonl", "--bad", home / "more.jsonl")
    result("corpus", "train-quality", *sides, "-o", home / "model.safetensors", "--samples", 20)
    quality = ("--quality", home / "model.safetensors")
    result("corpus", "init", corpus, "--recipe", home / "recipe.yaml", *quality)
    with serving() as site:
        crawl = ("--allow-loopback", f"--connect-to=::127.0.0.1:{site.port}", "--delay", 0, *ONE)
        mended = _serve(site, broken="http://c1.test/1")
        result("corpus", "add", corpus, _dump(home, "jan", range(4)), *crawl)
        result("corpus", "import", corpus, home / "warc", "--kind", "warc", "--name", "w", *ONE)
        result("corpus", "import", corpus, home / "rows.jsonl", "--kind", "jsonl", *ONE)
        result("tokenizer", "train", corpus, "-o", bpe, "--vocab-size", 300)
        pack = ("pack", corpus, "--tokenizer", bpe, "-o", tokens, "--held-out", 0.2)
        result(*pack)
        mended()
        result("corpus", "add", corpus, _dump(home, "feb", range(4, 8)), *crawl, "--retry-failed")
        result("corpus", "forget", corpus, "--url", "http://a1.test/1", "--tokens", tokens)
        result("corpus", "select", corpus, "min_words=3", "exclude=[../other]", *ONE)
        result("corpus", "select", corpus, *ONE)
        result(*pack)
        result("corpus", "report", corpus)
        result("corpus", "overlap", corpus, "--sets", home / "evals", *ONE)
        stopped = ("--until", "fetch")
        result("corpus", "add", corpus, _dump(home, "mar", range(8, 12)), *crawl, *stopped)


def _dump(home: Path, name: str, pages: range) -> Path:
    posts = [
        {"id": f"{n}", "url": f"http://c{n}.test/{n}", "score": 9, "created_utc": 100 + n, "subreddit": "x"}
        for n in pages
    ]
    path = home / f"RS_{name}.json"
    path.write_text("\n".join(map(json.dumps, posts)))
    return path


def _serve(site: Web, broken: str) -> Callable[[], str]:
    """Serve pages, one of them with status 503; returns a function that mends this one."""
    page = "<html><body><article><h1>{n}</h1><p>{text}</p></article></body></html>"
    pages = {f"http://c{n}.test/{n}": page.format(n=n, text=text(100 + n)) for n in range(12)}
    for url, body in pages.items():
        site.html(url, body)
    site.status(broken, 503)
    return lambda: site.html(broken, pages[broken])
