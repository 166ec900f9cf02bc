"""Real examples of real evaluation sets, planted in real prose, are all found, and nothing else goes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dataprep import ingest
from dataprep.audit.overlap import overlap
from dataprep.corpus import evalsets
from dataprep.corpus.recipe import Decontaminate
from dataprep.shards import text_shards
from dataprep.text import ngrams
from support.ready_corpus import Page, add_pages, make_corpus, no_progress

pytestmark = pytest.mark.slow(10)

CHARACTERS = 6000
PLANTED = 3
"""Examples a set."""


@pytest.fixture(scope="module")
def prose(data: Path) -> list[str]:
    """Stretches of real novels."""
    texts = [
        gzip.decompress(path.read_bytes()).decode() for path in sorted((data / "text/novels").glob("*.gz"))
    ]
    return [text[at : at + CHARACTERS] for text in texts for at in range(20_000, 50_000, CHARACTERS)]


@pytest.fixture(scope="module")
def examples(data: Path) -> dict[str, list[tuple[int, str]]]:
    """Of each set, the lines and longest texts of some examples that have a 13-gram."""
    found = {}
    for name, path in evalsets.files(data / "evals").items():
        longest = [(each.line, max(each.texts, key=len)) for each in evalsets.examples(path)]
        long = [each for each in longest if len(ngrams.words([each[1]]).hashes) >= 13]
        found[name] = [long[at] for at in np.linspace(0, len(long) - 1, PLANTED, dtype=int)] if long else []
    assert sum(map(len, found.values())) >= 30
    return found


def test_every_planted_example_is_found_and_cut_and_nothing_else(
    data: Path, tmp_path: Path, prose: list[str], examples: dict[str, list[tuple[int, str]]]
) -> None:
    sets = data / "evals"
    pages: list[Page] = []
    texts = iter(prose)
    planted = {(name, line): text for name, chosen in examples.items() for line, text in chosen}
    for number, text in enumerate(planted.values()):
        page = next(texts)
        pages.append((number, f"http://a.test/{number}", f"{page[:3000]}\n{text.upper()}\n{page[3000:]}"))
    pages += [(len(pages) + n, f"http://clean.test/{n}", text) for n, text in enumerate(texts)]

    rules = Decontaminate(sets=str(sets), content=evalsets.content(evalsets.hashes(sets)))
    left, reports = [], []
    for name, decontaminate in (("as it is", None), ("cut", rules)):
        corpus = make_corpus(tmp_path / name, decontaminate=decontaminate, shard_mb=0.1)
        for month, half in enumerate((pages[::2], pages[1::2])):
            add_pages(corpus, f"m{month}", half, parts=2)
        build = ingest.extend(corpus, 1, no_progress)
        shards = text_shards.shards(build)
        left.append(
            [each for shard in shards for each in text_shards.read_documents(corpus.root / shard.tar.path)]
        )
        reports.append({each.name: each for each in overlap(corpus, build, sets, 1, no_progress)})

    before, after = reports
    # table C.1 of the paper has the same; ours are parts of the validation sets
    for name in ("piqa_val.jsonl", "openbookqa_val.jsonl", "triviaqa_wiki_val.jsonl.gz"):
        assert before[name].n == 8
    for name in ("boolq_val.jsonl.gz", "lambada_sample.jsonl"):
        assert before[name].n == 13
    for name, line in planted:
        assert line in [each.line for each in before[name].dirty]
        if before[name].n == 13:
            assert line not in [each.line for each in after[name].dirty]
    whole = {url: text for _, url, text in pages}
    table = ngrams.Grams.of(ngrams.words(list(planted.values())), 13)
    assert len(table.find(ngrams.words(list(whole.values())))[0]) >= len(table)
    assert len(table.find(ngrams.words([each["text"] for each in left[1]]))[0]) == 0
    for sample in left[1]:
        assert sample["text"] == whole[sample["url"]][slice(*sample.get("piece", [None]))]
    untouched = {each["url"] for each in left[1] if "piece" not in each}
    assert {url for url in whole if "clean.test" in url} <= untouched
    kept = sum(len(each["text"]) for each in left[1])
    cut = sum(len(text) + 400 for text in planted.values())
    assert kept > sum(map(len, whole.values())) - 1.2 * cut
