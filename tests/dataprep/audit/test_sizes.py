"""The sizes of what is kept are those of the text shards and of the token shards."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dataprep.audit.sizes import SIDES, PackedTokens, Size, kept_sizes
from dataprep.audit.trace import generation
from dataprep.corpus.directory import Corpus
from support import whole_corpus
from support.cli import result
from support.cli import run as outbound

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
