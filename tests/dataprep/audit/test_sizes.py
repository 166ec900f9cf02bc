"""The sizes of what is kept are those of the text shards and of the token shards."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dataprep import ingest
from dataprep.audit.sizes import SIDES, PackedTokens, Size, kept_sizes
from dataprep.audit.trace import generation
from dataprep.corpus.directory import Corpus
from pipeline.version import version
from support import whole_corpus
from support.cli import result
from support.cli import run as outbound
from support.ready_corpus import add_pages, make_corpus, no_progress

pytestmark = pytest.mark.slow(8)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of which a page was forgotten and another cut, and its tokens. Left as it is."""
    made = tmp_path_factory.mktemp("home")
    whole_corpus.make(made)
    return made


def samples(corpus: Corpus) -> list[tuple[dict[str, Any], str]]:
    """KEY.json and KEY.txt of every sample of the current build."""
    found = []
    for tar in sorted(corpus.current_build().path.glob("*/shard/*.tar")):
        with tarfile.open(tar) as archive:
            members = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
        found += [
            (json.loads(members[name]), members[name.replace(".json", ".txt")].decode())
            for name in members
            if name.endswith(".json")
        ]
    return found


def test_the_sizes_are_those_of_the_shards(home: Path) -> None:
    corpus, tokens = Corpus.open(home / "corpus"), home / "tokens"
    shards = samples(corpus)
    assert sum("piece" in about for about, _ in shards) > 0
    packed = generation(tokens)
    seen = kept_sizes(corpus, PackedTokens.of(tokens, packed), tuple(SIDES))
    documents = len({about["doc_id"] for about, _ in shards})
    assert seen.total == Size(
        documents=documents,
        words=sum(len(text.split()) for _, text in shards),
        characters=sum(len(text) for _, text in shards),
        tokens=sum(split.tokens for split in packed.splits.values()),
        packed=documents,
    )
    by_site = Counter[str]()
    for about, text in shards:
        by_site[about["site"]] += len(text)
    assert {site: size.characters for site, size in seen.by["site"].items()} == by_site
    assert seen.by["month"].keys() == {"2013-08", "unknown"}
    for side in SIDES:
        whole = Size()
        for size in seen.by[side].values():
            whole = whole.plus(size)
        assert whole == seen.total


def test_status_shows_the_sizes_and_with_token_shards_their_tokens(home: Path) -> None:
    kept = result("corpus", "status", home / "corpus")["kept"]
    assert (kept["tokens"], kept["documents"] > 30) == (None, True)
    with_tokens = result("corpus", "status", home / "corpus", "--tokens", home / "tokens")["kept"]
    assert with_tokens == kept | {"tokens": with_tokens["tokens"], "packed": kept["documents"]}
    text = outbound("corpus", "status", home / "corpus", "--tokens", home / "tokens").stdout
    sizes = f"{kept['documents']:,} documents, {kept['words']:,} words, {kept['characters']:,} characters"
    assert f"\nkept: {sizes}, {with_tokens['tokens']:,} tokens\n" in text
    refused = outbound("corpus", "status", home / "corpus", "--tokens", home)
    assert (refused.returncode, "no generation-N.json here" in refused.stderr) == (1, True)


def test_the_report_shows_sizes_samples_versions_and_thresholds(home: Path, tmp_path: Path) -> None:
    page, corpus = tmp_path / "report.html", Corpus.open(home / "corpus")
    result("corpus", "report", corpus.root, "--tokens", home / "tokens", "-o", page)
    text = page.read_text()
    total = kept_sizes(corpus, PackedTokens.of(home / "tokens", generation(home / "tokens"))).total
    for number in (total.documents, total.words, total.characters, total.tokens):
        assert f'<td class="number">{number:,}</td>' in text
    for heading in ("By site", "By month", "By language"):
        assert f"<summary>{heading}</summary>" in text
    rows = {"recipe": "whole", "build": corpus.current_build().name, "minhash": "4", "outbound": version()}
    for name, value in rows.items():
        assert f'<tr><th scope="row">{name}</th><td><code>{value}</code></td></tr>' in text
    drawn = result("corpus", "sample", corpus.root, "--n", 3, "--seed", 0)["documents"]
    for document in drawn:
        assert f"<code>{document['doc_id']}</code> kept" in text
    assert "Scores and thresholds" not in text  # this recipe has none
    result("corpus", "select", corpus.root, "min_words=3", "--workers", 1)
    result("corpus", "report", corpus.root, "-o", page)
    assert "Scores and thresholds" not in page.read_text()  # nor is the recipe that of this build
    result("corpus", "select", corpus.root, "--workers", 1)


def test_the_report_draws_the_thresholds_of_the_recipe(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", min_words=3)
    pages = [(n, f"http://a.test/{n}", "<b>boat</b> " * n) for n in range(1, 6)]
    add_pages(corpus, "one", pages)
    ingest.extend(corpus, 1, no_progress)
    result("corpus", "report", corpus.root)
    text = (corpus.root / "report.html").read_text()
    assert "Documents by score, with the bounds min_words 3</title>" in text
    assert "min_words: 2 (recipe: 3)" in text
    assert "&lt;b&gt;boat&lt;/b&gt;" in text
