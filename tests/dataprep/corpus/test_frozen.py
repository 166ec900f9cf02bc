"""What is collected is frozen: a recipe that was edited since is refused, and the edit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.corpus.frozen import FROZEN
from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load
from support.ready_corpus import add_pages, make_corpus, no_progress


def edited(root: Path, old: str, new: str) -> Corpus:
    path = root / "recipe.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return Corpus.open(root)


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("karma: 3", "karma: 5", "collect.links.karma was 3 and is 5"),
        ("- zip\n", "- zipped\n", r"blocked_extensions gained \['zipped'\] and lost \['zip'\]"),
    ],
)
def test_an_edit_of_what_is_collected_is_refused_and_named(
    tmp_path: Path, old: str, new: str, change: str
) -> None:
    add_pages(make_corpus(tmp_path), "one", [(1, "a", "some text")])
    with pytest.raises(DataError, match=change):
        ingest.extend(edited(tmp_path, old, new), 1, no_progress)
    ingest.extend(edited(tmp_path, new, old), 1, no_progress)


def test_thresholds_may_be_edited(tmp_path: Path) -> None:
    add_pages(make_corpus(tmp_path), "one", [(1, "a", "some text")])
    ingest.extend(edited(tmp_path, "min_words: null", "min_words: 3"), 1, no_progress)


def test_an_edit_is_refused_as_soon_as_the_corpus_is_made(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    with pytest.raises(DataError, match="karma was 3 and is 5"):
        edited(tmp_path, "karma: 3", "karma: 5")


def test_a_setting_that_an_older_version_did_not_have_counts_as_its_default(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    path = tmp_path / FROZEN
    content = load(path, dict[str, Any])
    del content["partition_mb"]
    path.write_bytes(dump(content))
    Corpus.open(tmp_path)
