"""`corpus verify --tokens` names what is wrong with token shards, whoever looks at which of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprep.pack.manifest import generations, latest_generation
from dataprep.pack.verify import problems
from dataprep.store import pool
from dataprep.store.calls import here
from support.packed_corpus import built, run


@pytest.mark.slow(5)
def test_the_report_on_tokens_is_the_same_with_any_number_of_workers(
    tmp_path: Path, bpe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, tokens = built(tmp_path / "corpus", range(20)), tmp_path / "tokens"
    run(corpus, bpe, tokens)
    corpus = built(tmp_path / "both", range(20), range(20, 40))
    run(corpus, bpe, tokens)
    generation = latest_generation(tokens)
    assert generation
    first, second, third, *_ = generation.splits["train"].shards
    (tokens / first.counts.path).unlink()
    (tokens / second.tar.path).write_bytes(b"")
    (tokens / third.table.path).write_bytes(b"")
    generations(tokens)[1].write_bytes(b"{}")
    (tokens / "tokenizer" / "tokenizer.json").unlink()
    report = list(problems(corpus, tokens))
    assert [line.partition(":")[0].rpartition("/")[2] for line in report] == [
        "tokenizer.json",
        "generation-1.json",
        first.counts.path,
        second.tar.path,
        third.table.path,
    ]
    monkeypatch.setattr(pool, "BATCH_BYTES", 1)
    for workers in (1, 3):
        ticks: list[int] = []
        assert list(problems(corpus, tokens, here(workers, ticks.append))) == report
        assert sum(ticks) == sum(len(split.shards) for split in generation.splits.values())
