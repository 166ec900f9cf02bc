"""Kept documents are handed over whole, in either format, masked where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from typer.testing import CliRunner

from dataprep import ingest
from dataprep.audit.funnel import funnel
from dataprep.corpus import evalsets
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Decontaminate
from dataprep.errors import DataError
from dataprep.imports.rows import Fields
from dataprep.shards.export import SCHEMA, Shape, export
from dataprep.shards.text_shards import read_documents
from dataprep.store.files import hash_file
from pipeline.cli.main import app
from pipeline.errors import UsageError
from support.ready_corpus import add_pages, make_corpus, no_progress

WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train"


def page(number: int) -> tuple[int, str, str]:
    text = f"Number {number} wrote to keeper{number}@harbour.org from 93.184.216.{number}. {WORDS} " * 3
    return number, f"http://a.test/{number}", text.strip() + f" {number}" * 9


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    made = make_corpus(tmp_path / "corpus")
    add_pages(made, "one", [page(n) for n in range(6)] + [(9, "http://b.test/", page(2)[2])], parts=2)
    add_pages(made, "two", [page(n) for n in range(6, 9)])
    ingest.extend(made, 1, no_progress)
    return made


def rows(out: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in manifest["files"]:
        path = out / file["path"]
        assert (path.stat().st_size, hash_file(path)) == (file["bytes"], file["xxh3_128"])
        new = (
            pq.read_table(path).to_pylist()
            if manifest["format"] == "parquet"
            else [json.loads(line) for line in path.read_text().splitlines()]
        )
        assert len(new) == file["rows"]
        found += new
    return found


@pytest.mark.slow(1)
@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_an_export_holds_the_kept_documents_and_says_so(corpus: Corpus, tmp_path: Path, form: str) -> None:
    manifest = export(corpus, corpus.current_build(), tmp_path / "out", Shape(form), 1, no_progress)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    kept = [doc for tar in sorted(corpus.root.glob("builds/*/*/shard/*.tar")) for doc in read_documents(tar)]
    found = rows(tmp_path / "out", manifest)
    assert manifest["documents"] == len(found) == len(kept) == 9
    assert [row["doc_id"] for row in found] == [doc["doc_id"] for doc in kept]
    assert [{name: doc.get(name) for name in SCHEMA.names} for doc in kept] == found


@pytest.mark.slow(1)
def test_an_export_is_an_import_of_the_same_texts(corpus: Corpus, tmp_path: Path) -> None:
    manifest = export(corpus, corpus.current_build(), tmp_path / "a", Shape("jsonl"), 1, no_progress)
    before = {row["text_key"] for row in rows(tmp_path / "a", manifest)}
    for form in ("jsonl", "parquet"):
        out = tmp_path / f"{form}-out"
        export(corpus, corpus.current_build(), out, Shape(form), 1, no_progress)
        other = make_corpus(tmp_path / form)
        files = sorted(out.glob(f"*.{form}"))
        ingest.bring(other, "back", form, files, Fields(), None, 1, no_progress)
        back = [doc for tar in other.root.glob("builds/*/*/shard/*.tar") for doc in read_documents(tar)]
        assert {doc["text_key"] for doc in back} == before
        assert {doc["url"] for doc in back} == {f"http://a.test/{n}" for n in range(9)}


def test_masking_is_counted_and_changes_nothing_else(corpus: Corpus, tmp_path: Path) -> None:
    shape = Shape.of("jsonl", columns="text, doc_id", mask="email,ip")
    manifest = export(corpus, corpus.current_build(), tmp_path / "out", shape, 1, no_progress)
    assert manifest["masked"] == {"email": 27, "ip": 27}
    found = rows(tmp_path / "out", manifest)
    assert [list(row) for row in found] == [["text", "doc_id"]] * 9
    assert not [row for row in found if "harbour.org" in row["text"] or "93.184" in row["text"]]
    assert all("email@example.com from 192.0.2.1. harbour winter" in row["text"] for row in found)


@pytest.mark.slow(2)
def test_an_export_goes_on_and_grows_with_its_build(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = export(corpus, corpus.current_build(), out, Shape("parquet"), 1, no_progress)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    lost = out / first["files"][0]["path"]
    content = lost.read_bytes()
    (out / "records" / "part-00000.json").unlink()
    (out / "manifest.json").unlink()
    lost.unlink()
    assert export(corpus, corpus.current_build(), out, Shape("parquet"), 2, no_progress) == first
    assert lost.read_bytes() == content
    add_pages(corpus, "three", [page(20)])
    ingest.extend(corpus, 1, no_progress)
    more = export(corpus, corpus.current_build(), out, Shape("parquet"), 1, no_progress)
    assert more["files"][: len(first["files"])] == first["files"]
    assert more["documents"] == first["documents"] + 1
    assert {path: path.stat().st_mtime_ns for path in stamps if path != lost} == {
        path: stamp for path, stamp in stamps.items() if path != lost
    }


def test_another_export_s_directory_and_wrong_names_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    export(corpus, corpus.current_build(), tmp_path / "out", Shape("parquet"), 1, no_progress)
    with pytest.raises(DataError, match="another -o"):
        export(
            corpus, corpus.current_build(), tmp_path / "out", Shape("parquet", mask=("ip",)), 1, no_progress
        )
    for wrong in ({"columns": ("words",)}, {"mask": ("name",)}):
        with pytest.raises(DataError, match="expected"):
            Shape("parquet", **wrong)
    with pytest.raises(DataError, match="expected parquet, jsonl"):
        Shape("csv")


def test_an_export_into_the_corpus_is_refused(corpus: Corpus) -> None:
    for place in (corpus.root, corpus.root / "out"):
        with pytest.raises(UsageError, match="forget"):
            CliRunner().invoke(
                app, ["corpus", "export", str(corpus.root), "-o", str(place)], catch_exceptions=False
            )


def exported(corpus: Corpus, out: Path, *words: str) -> DatasetCard:
    """The card of an export by the command, as the Hub's parser reads it."""
    ended = CliRunner().invoke(
        app, ["corpus", "export", str(corpus.root), "-o", str(out), *words], catch_exceptions=False
    )
    assert ended.exit_code == 0, ended.output
    return DatasetCard.load(out / "README.md")


@pytest.mark.slow(2)
def test_the_hub_s_parser_reads_the_data_card_and_finds_the_figures(corpus: Corpus, tmp_path: Path) -> None:
    card = exported(corpus, tmp_path / "out", "--mask", "email")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (card.data.pretty_name, card.data.license, card.data.size_categories) == (
        "test",
        "unknown",
        ["n<1K"],
    )
    assert card.data.configs[0]["data_files"][0]["path"] == "*.parquet"
    assert len(list((tmp_path / "out").glob("*.parquet"))) == len(manifest["files"])
    for stage in funnel(corpus.root):
        assert f"| {stage.stage} | {stage.unit} | {stage.entered:,} | {stage.passed:,} |" in card.text
    assert "exact_duplicate 1" in card.text
    assert "| example.test | 9 |" in card.text
    assert "| one | dumps | 7 | 6 |" in card.text.replace("0001-one", "one")
    assert corpus.recipe.text() in card.text
    assert "**Unknown.** The texts belong to whoever wrote them." in card.text
    assert "**None.** Texts of evaluation sets may be in this corpus." in card.text
    assert f"{manifest['masked']['email']:,} of kind email" in card.text
    for file in manifest["files"]:
        assert f"| {file['path']} | {file['bytes']:,} | {file['xxh3_128']} |" in card.text
    assert hash_file(tmp_path / "out" / "manifest.json") in card.text
    assert exported(corpus, tmp_path / "out", "--mask", "email").text == card.text, (
        "run again, it is the same"
    )


@pytest.mark.slow(2)
def test_a_data_card_is_of_its_build_and_states_its_decontamination(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "quiz.jsonl").write_text(json.dumps({"question": page(3)[2][:200]}))
    content = evalsets.content(evalsets.hashes(tmp_path / "sets"))
    rules = Decontaminate(sets=str(tmp_path / "sets"), content=content)
    corpus = make_corpus(tmp_path / "corpus", decontaminate=rules)
    add_pages(corpus, "one", [page(n) for n in range(6)])
    ingest.extend(corpus, 1, no_progress)
    first = corpus.current_build().name
    card = exported(corpus, tmp_path / "cut")
    assert "13 words in a row shared with an example" in card.text
    assert content in card.text
    bare = Corpus(
        corpus.root,
        corpus.recipe.model_copy(
            update={"select": corpus.recipe.select.model_copy(update={"decontaminate": None, "min_words": 5})}
        ),
    )
    ingest.extend(bare, 1, no_progress)
    card = exported(corpus, tmp_path / "bare")
    assert "**None.**" in card.text
    assert "is not that of the corpus's recipe" in card.text
    assert "decontaminate:" not in card.text, "the recipe's selection is another build's"
    again = exported(corpus, tmp_path / "again", "--build", first)
    assert again.text == DatasetCard.load(tmp_path / "cut" / "README.md").text
