"""Two builds told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprep import ingest
from dataprep.audit.diff import NOT_JUDGED, compare
from dataprep.audit.funnel import decisions
from dataprep.corpus import evalsets
from dataprep.corpus.directory import Build, Corpus
from dataprep.corpus.recipe import Decontaminate, overridden
from dataprep.errors import DataError
from dataprep.selection.exclude import build_of
from support.ready_corpus import add_pages, make_corpus, no_progress

SHORT = "only five words of text"
MIDDLE = "it takes some more of them to be kept by one of both"
LONG = "nothing is said here that another page has said before, and so it stays in whatever is built of it"


def build(corpus: Corpus, *overrides: str) -> Build:
    chosen = overridden(corpus.recipe.select, list(overrides))
    recipe = corpus.recipe.model_copy(update={"select": chosen})
    return ingest.extend(Corpus(corpus.root, recipe), 1, no_progress)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = make_corpus(tmp_path)
    add_pages(corpus, "one", [(1, "short", SHORT), (2, "middle", MIDDLE), (3, "long", LONG)], parts=2)
    add_pages(corpus, "two", [(4, "again", LONG), (5, "other", f"{MIDDLE} {LONG}")])
    return corpus


@pytest.mark.slow(2)
def test_every_document_is_counted_by_both_verdicts(corpus: Corpus) -> None:
    loose, strict = build(corpus), build(corpus, "min_words=10", "max_words=25")
    found = compare(corpus, loose, strict, 3)
    assert found.counts == {
        ("kept", "kept"): 2,
        ("kept", "min_words"): 1,
        ("kept", "max_words"): 1,
        ("exact_duplicate", "exact_duplicate"): 1,
    }
    (example,) = found.examples["kept", "min_words"]
    assert (example["url"], example["numbers"]) == ("short", [None, 5.0])
    assert [each["url"] for each in found.examples["kept", "max_words"]] == ["other"]


def test_only_so_many_examples_are_given_in_corpus_order(corpus: Corpus) -> None:
    found = compare(corpus, build(corpus), build(corpus, "min_words=100"), 2)
    assert found.counts["kept", "min_words"] == 4
    assert [each["url"] for each in found.examples["kept", "min_words"]] == ["short", "middle"]


def test_naming_the_build_of_a_recipe_makes_nothing(
    corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = make_corpus(tmp_path_factory.mktemp("other"))
    add_pages(other, "one", [(1, "long", LONG)])
    ingest.extend(other, 1, no_progress)
    chosen = overridden(corpus.recipe.select, [f"exclude=[{other.root}]"])
    excluding = Corpus(corpus.root, corpus.recipe.model_copy(update={"select": chosen}))
    named = build_of(excluding)
    assert not named.path.exists()
    assert ingest.extend(excluding, 1, no_progress) == named
    assert (named.path / "excluded.json").exists()


@pytest.mark.slow(1)
def test_a_build_that_is_behind_has_not_judged_the_rest(corpus: Corpus) -> None:
    before, after = build(corpus, "min_words=10"), None
    add_pages(corpus, "three", [(9, "new", f"{SHORT} and then so many more words")])
    after = build(corpus)
    found = compare(corpus, before, after, 1)
    assert found.counts[NOT_JUDGED, "kept"] == 1
    assert found.examples[NOT_JUDGED, "kept"][0]["url"] == "new"


@pytest.mark.slow(1)
def test_a_build_is_equal_to_itself(corpus: Corpus) -> None:
    same = build(corpus)
    found = compare(corpus, same, same, 3)
    assert (sum(found.counts.values()), found.examples) == (5, {})


@pytest.mark.slow(1)
def test_builds_are_named_by_a_prefix_or_current(corpus: Corpus) -> None:
    first, second = build(corpus), build(corpus, "min_words=10")
    assert corpus.find_build("current") == second
    assert corpus.find_build(first.name[:6]) == first
    with pytest.raises(DataError, match=r"'xyz': no build begins so; there are: current .*" + second.name):
        corpus.find_build("xyz")
    with pytest.raises(DataError, match="'': 2 builds begin so"):
        corpus.find_build("")


def test_what_evaluation_sets_cut_out_is_a_verdict_of_its_own(tmp_path: Path) -> None:
    question = "which of the two rivers that meet below the old town carries more water in spring"
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "rivers.txt").write_text(question)
    corpus = make_corpus(tmp_path / "corpus")
    words = [f"word{n}" for n in range(120)]
    cut = " ".join([*words[:60], question, *words[60:]])
    add_pages(corpus, "one", [(1, "gone", question), (2, "cut", cut), (3, "whole", LONG)])
    content = evalsets.content(evalsets.hashes(tmp_path / "evals"))
    rules = Decontaminate(sets=str(tmp_path / "evals"), content=content)
    recipe = corpus.recipe.model_copy(
        update={"select": corpus.recipe.select.model_copy(update={"decontaminate": rules})}
    )
    clean = ingest.extend(Corpus(corpus.root, recipe), 1, no_progress)
    found = compare(corpus, build(corpus), clean, 1)
    assert found.counts == {("kept", "kept"): 1, ("kept", "cut"): 1, ("kept", "contaminated"): 1}
    assert found.examples["kept", "cut"][0]["numbers"] == [None, 2]
    assert [stage.stage for stage in decisions(clean)] == ["select", "dedup", "decontaminate"]
