"""The whole way on real submissions and real pages, by the commands of the README."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataprep.shards.text_shards import read_documents
from support.patience import patient

pytestmark = pytest.mark.slow(10)


def outbound(*arguments: object) -> dict[str, Any]:
    """Run a command with --json and give its result."""
    command = [sys.executable, "-m", "pipeline.cli.main", *map(str, arguments), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=patient(900), check=False)
    assert result.returncode == 0, result.stderr
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def stages(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    for count in result["funnel"]:
        assert count["entered"] == count["passed"] + sum(count["reasons"].values())
    return {count["stage"]: count for count in result["funnel"]}


@pytest.fixture(scope="module")
def corpus(data: Path, web: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both composed months, collected from the real pages."""
    directory = tmp_path_factory.mktemp("real") / "corpus"
    recipe = directory.with_name("recipe.yaml")
    outbound("corpus", "init", directory, "--recipe", "webtext")
    recipe.write_text((directory / "recipe.yaml").read_text().replace("partition_mb: 256", "partition_mb: 4"))
    shutil.rmtree(directory)
    outbound("corpus", "init", directory, "--recipe", recipe)

    first = stages(outbound("corpus", "add", directory, data / "reddit" / "RS_web_2014a.zst", *web))
    assert first["links"]["entered"] == 1739
    assert first["fetch"]["passed"] > 0.9 * first["fetch"]["entered"]
    both = stages(outbound("corpus", "add", directory, data / "reddit" / "RS_web_2014b.zst", *web))
    assert both["links"]["entered"] == 1739 + 1740
    assert both["links"]["reasons"]["already_entered"] > 100
    assert both["extract"]["passed"] > 0.97 * both["extract"]["entered"]
    assert both["dedup"]["passed"] > 1000
    return directory


def test_every_file_and_count_of_a_real_corpus_is_right(corpus: Path) -> None:
    assert outbound("corpus", "verify", corpus)["problems"] == []  # the journals of done rounds are garbage


def test_the_kept_documents_are_distinct_pages_of_the_links(corpus: Path) -> None:
    documents = [doc for tar in corpus.glob("builds/*/*/shard/*.tar") for doc in read_documents(tar)]
    assert (
        len({doc["doc_id"] for doc in documents}) == len({doc["text"] for doc in documents}) == len(documents)
    )
    assert all(max(post["score"] for post in doc["submissions"]) >= 3 for doc in documents)
    assert all(doc["language"] == "en" for doc in documents)
    traced = outbound("corpus", "trace", corpus, documents[0]["doc_id"])
    assert traced["url"] == documents[0]["url"]


def test_real_text_becomes_tokens_and_back(corpus: Path) -> None:
    tokenizer, tokens = corpus.with_name("tokenizer"), corpus.with_name("tokens")
    made = outbound("tokenizer", "train", corpus, "-o", tokenizer, "--vocab-size", 4096)
    assert made["vocab_size"] == 4096
    packed = outbound("pack", corpus, "--tokenizer", tokenizer, "-o", tokens)
    assert packed["train"]["tokens"] > 3_000_000
    assert 5 < packed["train"]["unigram_entropy_nats"] < 8


@pytest.mark.parametrize(("dump", "submissions"), [("RS_2013-08.zst", 71_040), ("RS_v2_2005-06.xz", 103)])
def test_links_of_real_dumps(data: Path, tmp_path: Path, dump: str, submissions: int) -> None:
    outbound("corpus", "init", tmp_path, "--recipe", "webtext")
    outbound("corpus", "add", tmp_path, data / "reddit" / dump, "--until", "links")
    (record,) = tmp_path.glob("increments/*/links/part-*.json")
    counts = json.loads(record.read_text())
    assert counts["entered"] == submissions
    assert counts["entered"] == counts["passed"] + sum(counts["reasons"].values())
    assert counts["passed"] > submissions * 0.2
    assert counts["notes"]["damage"] == []
