"""A document that was cut, and one that was contaminated, are forgotten with their counts."""

import random
from pathlib import Path

import pytest
import xxhash

from dataprep.audit.funnel import funnel
from dataprep.audit.verify import problems, unknown
from dataprep.corpus import evalsets
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Decontaminate, Recipe, Select
from dataprep.corpus.tombstones import Tombstone
from dataprep.forget import run
from dataprep.ingest import extend
from support.ready_corpus import Page, add_pages, no_progress

WORDS = [f"w{number}" for number in range(3000)]


def forget(corpus: Corpus, page: Page) -> None:
    run.begin(corpus, Tombstone(url_keys=[xxhash.xxh3_128_hexdigest(page[1].encode())]))
    run.finish(corpus, lambda _: None)
    assert list(problems(corpus)) == []
    assert unknown(corpus) == []


@pytest.mark.slow(1)
def test_the_counts_of_a_decontaminated_build_stand(tmp_path: Path) -> None:
    rng, sets = random.Random(1), tmp_path / "sets"
    question = " ".join(rng.choices(WORDS, k=40))
    sets.mkdir()
    (sets / "x.txt").write_text(question)
    rules = Decontaminate(sets=str(sets), content=evalsets.content(evalsets.hashes(sets)))
    corpus = Corpus.create(tmp_path / "corpus", Recipe(name="clean", select=Select(decontaminate=rules)))
    texts = [" ".join(rng.choices(WORDS, k=600)) for _ in range(3)]
    texts += [f"{texts[2][::-1]} {question} {texts[1][::-1]}", question]
    pages = [(second, f"http://a.test/{second}", text) for second, text in enumerate(texts)]
    add_pages(corpus, "one", pages, parts=2)
    extend(corpus, 1, no_progress)
    assert [(each.entered, each.passed) for each in funnel(corpus.root)[-2:]] == [(5, 5), (5, 4)]
    for page in (pages[3], pages[4]):
        forget(corpus, page)
    last = {each.stage: each for each in funnel(corpus.root)}
    assert last["forget"].reasons == {"forgotten": 2}
    assert (last["decontaminate"].entered, last["decontaminate"].passed) == (3, 3)
    assert not [path for path in corpus.root.rglob("*.tar") if question.encode() in path.read_bytes()]
