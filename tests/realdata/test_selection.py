"""The classifier, languages and the papers' rules on real text: novels, an encyclopedia, pages."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import trafilatura
from warcio.archiveiterator import ArchiveIterator

from dataprep.corpus.recipe import C4, FineWeb, Gopher, Select
from dataprep.score import stage as score
from dataprep.score.quality import model
from dataprep.score.quality.training import train
from dataprep.selection import thresholds
from dataprep.text import language
from dataprep.train_quality import gather

pytestmark = pytest.mark.slow(10)


@pytest.fixture(scope="module")
def pages(data: Path) -> list[tuple[str, str]]:
    """The texts of every 24th page, each with the language that its URL names (Apache's) or an empty one."""
    found = []
    with (data / "web" / "pages.warc.gz").open("rb") as file:
        for number, record in enumerate(ArchiveIterator(file)):
            url = record.rec_headers.get_header("WARC-Target-URI")
            if number % 24 == 0 and (text := trafilatura.extract(record.content_stream().read())):
                told = re.search(r"apache\.org/docs/[^/]+/(\w\w)/", url)
                found.append((text, told[1] if told else ""))
    return found


def test_the_classifier_tells_novels_and_an_encyclopedia_from_pages(
    data: Path, pages: list[tuple[str, str]], tmp_path: Path
) -> None:
    novels = sorted((data / "text" / "novels").glob("*.gz"))[:3]
    good = gather([*novels, data / "lm" / "wikitext2.valid.txt"], True, 400, lambda _: None)
    raw = tmp_path / "raw.txt"
    raw.write_text("\n".join(text for text, _ in pages))
    trained = train(good, gather([raw], False, 400, lambda _: None), lambda _: None)
    assert trained.auc > 0.98
    model.save(trained, tmp_path / "model")
    classifier = model.load(tmp_path / "model")
    unseen = gather([sorted((data / "text" / "novels").glob("*.gz"))[-1]], True, 50, lambda _: None)
    liked = model.logits([each.features for each in unseen], classifier.weights, classifier.bias)
    assert (liked > 0).mean() > 0.95


def test_most_languages_of_real_pages_are_told_right(pages: list[tuple[str, str]]) -> None:
    known = [(language.classify(text), told) for text, told in pages if told]
    right = Counter(found == told for (found, _), told in known)
    assert len({told for _, told in known}) >= 4
    assert right[True] / right.total() > 0.93
    assert all(0 < probability <= 1 for (_, probability), _ in known)


def test_the_papers_rules_drop_some_real_pages_and_say_by_which_number(pages: list[tuple[str, str]]) -> None:
    rows = [{"doc_id": b"0" * 16, **score.measure(text)} for text, _ in pages]
    table = pa.Table.from_pylist(rows, schema=score.SCHEMA)
    for rules in (Select(gopher=Gopher()), Select(c4=C4()), Select(fineweb=FineWeb())):
        verdicts, numbers = thresholds.apply(table, rules)
        assert 0.05 < sum(verdict != "kept" for verdict in verdicts) / len(verdicts) < 0.9
        assert all((verdict == "kept") == (n is None) for verdict, n in zip(verdicts, numbers, strict=True))
