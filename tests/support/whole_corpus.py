"""A small corpus that has been through every layer, made by the commands themselves."""

from __future__ import annotations

import json
import random
from pathlib import Path

from support.cli import result
from support.servers.pywb import write_warc

WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train".split()
PAGES = 24


def text(number: int) -> str:
    """The text of a page, unlike that of any other."""
    return f"Page {number}. " + " ".join(random.Random(number).choices(WORDS, k=120))


def inputs(home: Path) -> None:
    """`warc/` and `rows.jsonl` with texts, `more.jsonl` with others, and `evals/` that holds some of one."""
    captures = [
        (f"http://a{n % 5}.test/{n}", "20130803000000", 200, {"Content-Type": "text/plain"}, text(n).encode())
        for n in range(PAGES)
    ]
    (home / "warc").mkdir(parents=True)
    write_warc(home / "warc" / "pages.warc.gz", captures)
    for name, first in (("rows", PAGES), ("more", 2 * PAGES)):
        rows = [{"text": text(n), "url": f"http://b.test/{n}"} for n in range(first, first + PAGES)]
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (home / "evals").mkdir()
    (home / "evals" / "set.jsonl").write_text(json.dumps({"question": text(3)[:90]}) + "\n")
    (home / "recipe.yaml").write_text("name: whole\nselect: {decontaminate: {sets: evals, min_piece: 50}}\n")


def make(home: Path) -> None:
    """`corpus` with two imports, a forgotten page and two builds; `bpe`; `tokens` of the current build."""
    inputs(home)
    corpus = home / "corpus"
    result("corpus", "init", corpus, "--recipe", home / "recipe.yaml")
    result("corpus", "import", corpus, home / "warc", "--kind", "warc", "--name", "w", "--workers", 1)
    result("corpus", "import", corpus, home / "rows.jsonl", "--kind", "jsonl", "--workers", 1)
    result("corpus", "forget", corpus, "--url", "http://a1.test/1")
    result("corpus", "select", corpus, "min_words=3", "--workers", 1)
    result("corpus", "select", corpus, "--workers", 1)
    result("tokenizer", "train", corpus, "-o", home / "bpe", "--vocab-size", 300)
    result("pack", corpus, "--tokenizer", home / "bpe", "-o", home / "tokens", "--held-out", 0.2)
