"""Text shards: webdataset tars of a wished size that any reader takes, with an index to read one document."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep import ingest
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.shards import text_shards
from dataprep.store.records import step_path
from support.ready_corpus import Page, add_pages, make_corpus, no_progress


def page(number: int, characters: int = 1000) -> Page:
    """A page of words of its own, that mentions an address."""
    words = np.random.default_rng(number).integers(0, 10**9, characters // 8).astype(str).tolist()
    return number, f"http://a.test/{number}", f"漢字 Ask joe{number}@firm.test. " + " ".join(words)


def built(root: Path, *increments: range, parts: int = 3, workers: int = 1, **select: Any) -> Corpus:
    corpus = make_corpus(root, **select)
    for name, numbers in enumerate(increments):
        add_pages(corpus, f"m{name}", [page(number) for number in numbers], parts)
    ingest.extend(corpus, workers, no_progress)
    return corpus


def tars(corpus: Corpus) -> list[Path]:
    return [corpus.root / shard.tar.path for shard in text_shards.shards(corpus.current_build())]


def texts(corpus: Corpus) -> dict[str, str]:
    return {doc["url"]: doc["text"] for tar in tars(corpus) for doc in text_shards.read_documents(tar)}


@pytest.mark.slow(1)
def test_shards_have_the_size_of_the_recipe_whatever_the_partitions(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(60), parts=7, shard_mb=0.012)
    sizes = [sum(len(doc["text"]) for doc in text_shards.read_documents(tar)) for tar in tars(corpus)]
    assert len(sizes) == 7
    assert all(abs(size - 12_000) < 1300 for size in sizes[:-1])  # a page has up to 1,300
    assert texts(corpus) == {url: text for _, url, text in map(page, range(60))}


def test_a_shard_holds_documents_of_one_increment(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(5), range(5, 10))
    assert [tar.name[:14] for tar in tars(corpus)] == ["test-0001-0000", "test-0002-0000"]
    assert len(texts(corpus)) == 10


@pytest.mark.slow(2)
def test_plain_webdataset_reads_every_document(tmp_path: Path) -> None:
    corpus = built(tmp_path / "corpus", range(40), shard_mb=0.01)
    program = (
        "import json, sys, webdataset\n"
        "for s in webdataset.WebDataset(sys.argv[1:], shardshuffle=False):\n"
        "    print(json.dumps([s['__key__'], json.loads(s['json'])['url'], s['txt'].decode()]))"
    )
    read = subprocess.run(
        [sys.executable, "-c", program, *map(str, tars(corpus))], capture_output=True, check=True
    )
    samples = [json.loads(line) for line in read.stdout.splitlines()]
    assert {url: text for _, url, text in samples} == texts(corpus)
    assert all(len(key) == 32 for key, _, _ in samples)


def test_tar_reads_every_document(tmp_path: Path) -> None:
    corpus = built(tmp_path / "corpus", range(40), shard_mb=0.01)
    for tar in tars(corpus):
        subprocess.run(["tar", "xf", tar, "-C", tmp_path], check=True)
    found = {
        json.loads(about.read_bytes())["url"]: about.with_suffix(".txt").read_text()
        for about in tmp_path.glob("*.json")
    }
    assert found == texts(corpus)


def test_a_sample_says_all_that_is_known_of_its_document(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(1))
    (document,) = text_shards.read_documents(tars(corpus)[0])
    assert document["url"] == "http://a.test/0"
    assert document["submissions"] == []
    assert {"title", "author", "date", "karma", "language", "site", "first_seen"} <= document.keys()
    assert all(len(bytes.fromhex(document[key])) == 16 for key in ("doc_id", "url_key", "text_key"))
    assert document["warc"].keys() == {"file", "offset", "length"}


@pytest.mark.slow(2)
def test_the_same_facts_give_the_same_bytes_in_any_number_of_processes(tmp_path: Path) -> None:
    one = built(tmp_path / "one", range(60), shard_mb=0.012)
    two = built(tmp_path / "two", range(60), shard_mb=0.012, workers=2)
    names = [shard.tar.path for shard in text_shards.shards(one.current_build())]
    assert names == [shard.tar.path for shard in text_shards.shards(two.current_build())]  # names hold hashes
    with tarfile.open(tars(one)[0]) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.uname, member.gname) == (0, 0, "", "")


def test_one_document_is_read_by_the_index_alone(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(60), shard_mb=0.02)
    for shard in text_shards.shards(corpus.current_build()):
        whole = list(text_shards.read_documents(corpus.root / shard.tar.path))
        assert len(whole) == shard.tar.rows == shard.index.rows
        for document in whole:
            doc_id = bytes.fromhex(document["doc_id"])
            assert text_shards.read_document(corpus.root, shard, doc_id) == [document]
        assert text_shards.read_document(corpus.root, shard, bytes(16)) == []


@pytest.mark.slow(1)
def test_an_increment_that_keeps_nothing_leaves_no_tar_and_is_done(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(0), range(3), range(3))
    increments = corpus.increments()
    build = corpus.current_build()
    assert [len(text_shards.outputs(build, increment)) for increment in increments] == [0, 1, 0]
    assert all(text_shards.complete(build, increment) for increment in increments)
    assert list(problems(corpus)) == []
    assert len(list(build.path.glob("*/shard/*.tar"))) == 1


def test_a_shard_that_a_kill_left_out_is_written_again(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(60), shard_mb=0.02)
    before = tars(corpus)
    build = corpus.current_build()
    (increment,) = corpus.increments()
    (build.of(increment) / "shard" / "00001.json").unlink()
    step_path(build.of(increment), "shard").unlink()
    assert not text_shards.complete(build, increment)
    ingest.extend(corpus, 1, no_progress)
    assert tars(corpus) == before


def test_masking_replaces_addresses_in_the_shards_and_nowhere_else(tmp_path: Path) -> None:
    plain, masked = built(tmp_path / "p", range(9)), built(tmp_path / "m", range(9), mask=["email"])
    assert "joe3@firm.test" in texts(plain)["http://a.test/3"]
    assert "joe3@" not in texts(masked)["http://a.test/3"]
    (document, *_) = text_shards.read_documents(tars(masked)[0])
    assert document["masked"] == {"email": 1}
    assert plain.current_build().name != masked.current_build().name


def test_the_names_of_the_documents_are_read_from_the_headers(tmp_path: Path) -> None:
    for tar in tars(built(tmp_path, range(60), shard_mb=0.02)):
        with tarfile.open(tar) as archive:
            expected = [name[:32] for name in archive.getnames() if name.endswith(".txt")]
        assert [doc_id.hex() for doc_id in text_shards.doc_ids(tar)] == expected
        tar.write_bytes(tar.read_bytes().replace(expected[0].encode(), b"x" * 32))
        with pytest.raises(DataError, match=f"{tar.name}: is damaged"):
            list(text_shards.doc_ids(tar))


def test_a_damaged_tar_is_named(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(30))
    (tar,) = tars(corpus)
    content = bytearray(tar.read_bytes())
    content[512 * 10 : 512 * 12] = bytes(range(256)) * 4
    tar.write_bytes(content)
    with pytest.raises(DataError, match=f"{tar.name}: is damaged"):
        list(text_shards.read_documents(tar))
    assert any("content has changed" in problem for problem in problems(corpus))
