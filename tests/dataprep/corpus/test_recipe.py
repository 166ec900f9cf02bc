"""Recipes: those that ship say what the papers did, and lists in files become part of the corpus."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import (
    C4,
    Decontaminate,
    FineWeb,
    Gopher,
    Recipe,
    Select,
    load_recipe,
    overridden,
    select_hash,
)
from dataprep.errors import DataError
from dataprep.text import masking, ngrams

SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "corpora").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid_and_survives_being_frozen(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    Corpus.create(tmp_path, recipe)
    assert Corpus.open(tmp_path).recipe == recipe


@pytest.mark.parametrize(
    ("name", "until"), [("webtext", date(2018, 1, 1)), ("webtext2", date(2018, 11, 1)), ("openwebtext", None)]
)
def test_the_recipes_of_the_papers(name: str, until: date | None) -> None:
    rules = load_recipe(next(path for path in SHIPPED if path.stem == name)).collect.links
    assert (rules.karma, rules.karma_rule, rules.until, rules.over_18) == (3, "post", until, False)
    assert "wikipedia.org" in rules.blocked_sites


def write(directory: Path, links: str) -> Path:
    path = directory / "mine.yaml"
    path.write_text(f"name: mine\ncollect:\n  links:\n{links}")
    return path


def test_lists_in_files_are_frozen_into_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "sites.txt").write_text("# mine\nSpam.test\n\nexämple.com  # odd\n")
    (tmp_path / "subs.txt").write_text("\ufeffr/Jokes\r\nPics\r\n")
    path = write(
        tmp_path,
        "    blocked_sites: [wikipedia.org]\n    blocked_sites_file: sites.txt\n"
        "    blocked_subreddits_file: subs.txt\n",
    )
    Corpus.create(tmp_path / "corpus", load_recipe(path))
    (tmp_path / "sites.txt").unlink()
    rules = Corpus.open(tmp_path / "corpus").recipe.collect.links
    assert rules.blocked_sites == {"wikipedia.org", "spam.test", "xn--exmple-cua.com"}
    assert rules.blocked_subreddits == {"jokes", "pics"}


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (
            "    blocked_sites_file: gone.txt\n",
            r"gone.txt: cannot be read \(No such file or directory\); the recipe names it",
        ),
        ("    blocked_sites: ['http://a.test/x']\n", "entry is a domain"),
        ("    blocked_sites: ['']\n", "entry is a domain"),
        ("    blocked_sits: [a.test]\n", "blocked_sits"),
    ],
)
def test_a_mistake_in_a_list_is_named(tmp_path: Path, links: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_recipe(write(tmp_path, links))


def test_defaults_are_webtexts() -> None:
    assert Recipe(name="x").collect.links.karma == 3


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_build_has_one_name_whether_a_number_is_a_default_or_written_out(path: Path) -> None:
    rules = load_recipe(path).select.model_copy(update={"gopher": Gopher(), "c4": C4(), "fineweb": FineWeb()})
    written = overridden(rules, [f"gopher.{name}={value}" for name, value in rules.gopher or ()])
    assert select_hash(written) == select_hash(rules)


def test_a_build_has_another_name_when_what_cuts_or_masks_its_text_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = Select()
    rules = [plain.model_copy(update={"mask": frozenset(["email"])})]
    rules.append(plain.model_copy(update={"decontaminate": Decontaminate(sets="x", content="y")}))
    before = [select_hash(each) for each in (plain, *rules)]
    monkeypatch.setattr(masking, "VERSION", 99)
    monkeypatch.setattr(ngrams, "VERSION", "another")
    after = [select_hash(each) for each in (plain, *rules)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]


@pytest.mark.parametrize("override", ["languages=[en", "min_words", "min_words.x=1", "min_word=1"])
def test_a_mistake_in_an_override_is_told(override: str) -> None:
    with pytest.raises(DataError):
        overridden(Select(min_words=1), [override])
