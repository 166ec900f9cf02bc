"""Files appear whole or not at all; the first record wins."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Recipe, Select, load_recipe, overridden, select_hash
from dataprep.errors import DataError
from dataprep.store.files import attempt_path, publish, publish_array, publish_table, replace, write_once
from dataprep.store.records import Record, commit, done, load_record
from support.synced import watch


def record(part: str = "p", **inputs: str) -> Record:
    return Record(step="step", part=part, inputs=inputs, entered=1, passed=1)


def bare(record: Record) -> Record:
    """A record as it was before it had a file to be known by."""
    return msgspec.structs.replace(record, origin="")


def test_the_first_record_wins(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    first = commit(path, record(a="1"))
    assert bare(first) == record(a="1")
    assert first.origin
    assert commit(path, record(a="2")) == first
    assert done(path, {"a": "1"}) == first
    assert [each.name for each in tmp_path.iterdir()] == ["p.json"]


def test_a_record_of_other_inputs_is_refused_and_a_damaged_one_named(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    commit(path, record(a="1"))
    with pytest.raises(DataError, match="other inputs"):
        done(path, {"a": "2"})
    path.write_text("{")
    with pytest.raises(DataError, match=r"p\.json: is damaged .* delete it and run"):
        load_record(path)
    commit(tmp_path / "q.json", record("q"))
    (tmp_path / "q.json").rename(path)
    with pytest.raises(DataError, match="is the record of 'q'"):
        load_record(path)


def test_the_same_bytes_are_the_same_file(tmp_path: Path) -> None:
    outputs = []
    for _ in range(2):
        written = attempt_path(tmp_path, "x")
        written.write_bytes(b"same")
        outputs.append(publish(tmp_path, written, "x", ".bin"))
    assert outputs[0] == outputs[1]
    assert [each.name for each in tmp_path.iterdir()] == [outputs[0].path]


def test_a_recipe_reads_back_equal_and_names_its_build(tmp_path: Path) -> None:
    recipe = Recipe(name="r", select=Select(languages=frozenset(["en", "de"]), min_words=3))
    Corpus.create(tmp_path, recipe)
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert Corpus.open(tmp_path).recipe == recipe
    changed = overridden(recipe.select, ["near_duplicates.threshold=0.7", "languages=[en]"])
    assert (changed.near_duplicates and changed.near_duplicates.threshold) == 0.7
    assert (
        select_hash(changed)
        != select_hash(recipe.select)
        == select_hash(load_recipe(tmp_path / "recipe.yaml").select)
    )


def test_every_mistake_in_a_recipe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: r\ncollect: {links: {karma: many}}\nselect: {min_wrds: 3}\n")
    with pytest.raises(DataError) as error:
        load_recipe(path)
    assert "collect.links.karma" in str(error.value)
    assert "select.min_wrds: unknown key; write min_words" in str(error.value)
    with pytest.raises(DataError, match="an override is KEY=VALUE"):
        overridden(Select(), ["min_words"])


def test_another_recipe_needs_another_directory(tmp_path: Path) -> None:
    Corpus.create(tmp_path, Recipe(name="r"))
    Corpus.create(tmp_path, Recipe(name="r"))
    with pytest.raises(DataError, match="another recipe"):
        Corpus.create(tmp_path, Recipe(name="other"))
    with pytest.raises(DataError, match="no corpus here"):
        Corpus.open(tmp_path / "nowhere")


def test_what_gets_a_name_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = watch(monkeypatch)
    publish_array(tmp_path, tmp_path, "array", np.arange(9))
    publish_table(tmp_path, tmp_path, "table", pa.table({"a": [1]}))
    write_once(tmp_path / "once", b"content")
    for content in (b"content", b"other"):
        replace(tmp_path / "fixed", content)
    assert [name.partition("-")[0] for name, _ in named] == ["array", "table", "once", "fixed", "fixed"]
    assert all(on_disk for _, on_disk in named)
