"""Pages that have opted out leave the token shards, too, also when a call was killed before it got there."""

from __future__ import annotations

from pathlib import Path

import pytest
import xxhash

from dataprep.corpus import known_files
from dataprep.opt_outs.command import RESULT, OptOuts, SiteOptOut
from dataprep.store.checksummed_json import dump
from dataprep.store.files import replace
from support.cli import result, run
from support.packed_corpus import built
from support.packed_corpus import run as pack


@pytest.mark.slow(1)
def test_token_shards_lose_what_an_earlier_call_has_forgotten(tmp_path: Path, bpe: Path) -> None:
    root, tokens = tmp_path / "corpus", tmp_path / "tokens"
    corpus = built(root, range(6))
    pack(corpus, bpe, tokens)
    words = ["corpus", "opt-outs", root, "--forget", "--tokens", tokens]
    assert "give --check" in run(*words).stderr  # nothing was ever forgotten
    urls = [f"http://a.test/{n}" for n in range(2)]
    site = SiteOptOut(
        site="a.test",
        signal="Content-Usage: train-ai=n",
        of_training=True,
        documents=2,
        example=urls[0],
        pages=[xxhash.xxh3_128_hexdigest(url.encode()) for url in urls],
    )
    checked = OptOuts(asked="2026-11-30", agent="outbound", sites=1, pages=6, found=[site])
    with known_files.rewriting(root, root / RESULT):
        replace(root / RESULT, dump(checked))
    told = run("corpus", "opt-outs", root, "--forget").stdout  # as if killed before the token shards
    assert "token shards that were packed before still hold it: give them as --tokens" in told
    assert not (root / RESULT).exists()
    assert result(*words)["forgotten"]["tokens"] == {str(tokens): 2}
    assert result(*words)["forgotten"]["tokens"] == {str(tokens): 0}
    assert result("corpus", "verify", root, "--tokens", tokens)["problems"] == []
