"""Incremental + forget = one-shot + forget: what was displaced stays dropped, whenever it is forgotten."""

import tempfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprep.audit.funnel import judged
from dataprep.audit.verify import problems, unknown
from dataprep.corpus.directory import Corpus, Decisions
from dataprep.corpus.known_files import REPORT_FILES
from dataprep.corpus.recipe import Links, NearDuplicates
from dataprep.corpus.tombstones import Tombstone
from dataprep.forget import run
from dataprep.forget.scope import stands_by
from dataprep.ingest import extend
from dataprep.selection.exclude import build_of
from dataprep.selection.kept import verdicts_of
from dataprep.steps import BY_NAME
from dataprep.store.files import read_table
from dataprep.store.step import make_part, plan_step
from support.ready_corpus import Page, add_pages, make_corpus, no_progress

STEM = "the ships of the northern fleet sailed at dawn with the tide and the winds of the sea".split()


@st.composite
def pages(draw: st.DrawFn) -> list[Page]:
    """Pages of which many nearly repeat one another, each at a second of its own."""
    made = []
    for second in range(draw(st.integers(3, 9))):
        words = [*STEM, f"tail{draw(st.integers(0, 2))}"]
        words[draw(st.integers(0, 15))] = draw(st.sampled_from(["storm", "calm"]))
        made.append((second, f"http://a.test/{second}", " ".join(words * 2)))
    return made


def forget(corpus: Corpus, page: Page) -> None:
    key = next(
        row["url_key"]
        for increment in corpus.increments()
        for output in increment.outputs("extract", "documents")
        for row in read_table(corpus.root, [output], ["url", "url_key"]).to_pylist()
        if row["url"] == page[1]
    )
    run.begin(corpus, Tombstone(url_keys=[key.hex()]))
    run.finish(corpus, lambda _: None)


def verdicts(corpus: Corpus) -> dict[bytes, str]:
    extend(corpus, 1, no_progress)
    found = {}
    for scope in judged(corpus, corpus.current_build()):
        table = read_table(corpus.root, verdicts_of(scope))
        found |= dict(zip(table["doc_id"].to_pylist(), table["verdict"].to_pylist(), strict=True))
    assert list(problems(corpus)) == []
    return found


@pytest.mark.slow(6)
@settings(max_examples=8)
@given(data=st.data(), made=pages())
def test_forgetting_between_increments_keeps_what_forgetting_at_the_end_keeps(
    data: st.DataObject, made: list[Page]
) -> None:
    gone = data.draw(st.sampled_from(made))
    cut = data.draw(st.integers(gone[0] + 1, len(made)))
    near = NearDuplicates(threshold=0.5)
    with tempfile.TemporaryDirectory() as directory:
        once = make_corpus(Path(directory) / "once", near)
        add_pages(once, "all", made)
        verdicts(once)
        forget(once, gone)
        split = make_corpus(Path(directory) / "split", near)
        add_pages(split, "first", made[:cut])
        if data.draw(st.booleans()):
            verdicts(split)  # forgotten in a build that stands, or before there is one
        forget(split, gone)
        if cut < len(made):
            add_pages(split, "second", made[cut:])
        assert verdicts(split) == verdicts(once)


def test_a_selection_that_was_killed_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """What its steps left is no layer: it goes, and so does what other commands told of the corpus."""
    corpus = make_corpus(tmp_path)
    page = (1, "http://a.test/1", " ".join(STEM))
    add_pages(corpus, "one", [page])
    step, scope = BY_NAME["select"], Decisions(corpus, build_of(corpus), corpus.increments()[0])
    for part in plan_step(step, scope).parts:
        make_part(step, scope, part.name, 1, lambda _: None)
    told = [tmp_path / name for name in REPORT_FILES]
    for path in told:
        path.write_text(page[2])
    assert unknown(corpus) != []
    forget(corpus, page)
    assert [path for path in told if path.exists()] == []
    assert set(verdicts(corpus).values()) == {"forgotten"}
    assert unknown(corpus) == []


@pytest.mark.parametrize(
    ("rule", "first_seen", "expected"),
    [("post", 2, "b"), ("post", 3, "c"), ("sum", 3, "c"), ("sum", 9, None)],
)
def test_a_link_stands_by_the_submission_that_reached_the_bar(
    rule: Literal["post", "sum"], first_seen: int, expected: str | None
) -> None:
    posts = [("a", 2, 1), ("b", 2, 5), ("c", 3, 5)]
    submissions = [{"id": name, "created_utc": second, "score": score} for name, second, score in posts]
    link = {"first_seen": first_seen, "submissions": submissions}
    assert stands_by(link, Links(karma=3, karma_rule=rule)) == expected
