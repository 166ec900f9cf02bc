"""Streaming: tokens in the order of the shards, resumed where it was, and honest refusals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.tokenizer.train import train
from pipeline.config import load_config
from pipeline.data.sources import Sources
from pipeline.data.streaming import StreamedSamples, expand
from pipeline.data.token_stream import PinnedGeneration, load_generation
from pipeline.errors import RunError, UsageError
from support import packed_corpus
from support.patience import patient

pytestmark = pytest.mark.slow(15)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token shards of our own pack, several of them."""
    home = tmp_path_factory.mktemp("packed")
    (home / "bpe").mkdir()
    train(packed_corpus.TEXTS, 400, home / "bpe")
    packed_corpus.run(packed_corpus.built(home / "corpus", range(60)), home / "bpe", home / "tokens")
    return home / "tokens"


@pytest.fixture(scope="module")
def server(packed: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            """Every shard, also by its name without the hash."""
            found = [*packed.glob(path[1:]), *packed.glob(path[1:].replace(".tar", "-*.tar"))]
            return str(found[0]) if found else "/nowhere"

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(packed))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def expected(generation: PinnedGeneration, ranks: int, rank: int, n_ctx: int) -> list[list[int]]:
    """An epoch of a rank by the rule: its shards' tokens end to end, cut into sequences."""
    mine = generation.splits["train"].shards[rank::ranks]
    tokens = np.concatenate(
        [
            np.fromfile(generation.path(s), generation.dtype, count, offset=offset)
            for s in mine
            for offset, count in s.blocks
        ]
    )
    return [tokens[at : at + n_ctx + 1].tolist() for at in range(0, len(tokens) - n_ctx, n_ctx)]


@pytest.mark.parametrize(
    "pattern",
    [
        "{packed}/{shard}",
        "{packed}/train-*.tar",
        "pipe:cat {packed}/{shard}",
        "{server}/{shard}",
        "{server}/{plain}",
    ],
)
def test_each_rank_reads_its_shards_in_order_epoch_after_epoch(
    pattern: str, packed: Path, server: str
) -> None:
    generation = load_generation(packed, None)
    last = len(generation.splits["train"].shards) - 1
    url = pattern.replace("{packed}", str(packed)).replace("{server}", server)
    url = url.replace("{plain}", f"train-0001-{{00000..{last:05d}}}.tar")
    stream = StreamedSamples.of(expand(url, generation), generation, n_ctx=32, dp_size=2)
    seen = []
    for rank in (0, 1):
        epoch = expected(generation, 2, rank, 32)
        found = list(islice(stream.numbered(0, rank, 2), len(epoch) + 3))
        assert [tokens.tolist() for _, tokens in found] == epoch + epoch[:3]
        seen += [number for number, _ in found[:3]]
    assert sorted(seen) == list(range(6)), "no number is two ranks'"


def test_resuming_anywhere_is_as_if_it_had_never_stopped(packed: Path) -> None:
    generation = load_generation(packed, None)
    stream = StreamedSamples.of(expand(f"{packed}/{{shard}}", generation), generation, 32, 2)
    epoch = len(expected(generation, 2, 1, 32))
    whole = [(number, tokens.tolist()) for number, tokens in islice(stream.numbered(0, 1, 2), 2 * epoch)]
    for skipped in (1, 17, epoch - 1, epoch, epoch + 5):
        number, tokens = next(stream.numbered(2 * skipped, 1, 2))
        assert (number, tokens.tolist()) == whole[skipped]


def test_what_is_broken_or_another_shard_is_named(packed: Path, tmp_path: Path) -> None:
    generation = load_generation(packed, None)
    first, second = (generation.path(shard) for shard in generation.splits["train"].shards[:2])

    def read(url: str) -> None:
        list(islice(StreamedSamples(expand(url, generation), generation, 32).numbered(0, 0, 1), 10_000))

    (tmp_path / first.name).write_bytes(first.read_bytes()[:1500])
    with pytest.raises(RunError, match=f"{first.name}: (cannot be read|ends after|block)"):
        read(str(tmp_path / first.name))
    (tmp_path / first.name).write_bytes(generation.path(generation.splits["val"].shards[-1]).read_bytes())
    with pytest.raises(RunError, match=f"{first.name}: (block|ends after)"):
        read(str(tmp_path / first.name))
    strange = bytearray(first.read_bytes())
    strange[512:514] = b"\xff\xff"
    (tmp_path / first.name).write_bytes(strange)
    with pytest.raises(RunError, match=f"{first.name}: holds the id 65535"):
        read(str(tmp_path / first.name))
    with pytest.raises(RunError, match="cannot be read"):
        read(f"pipe:cat {tmp_path}/nowhere/{second.name} 2>/dev/null")
    with pytest.raises(UsageError, match="must name one training shard of generation 1"):
        expand(f"{packed}/other.tar", generation)
    with pytest.raises(UsageError, match="leave rank 1 of 2 data-parallel ranks no sequence"):
        StreamedSamples.of(expand(str(first), generation), generation, 32, 2)


def test_what_a_stream_cannot_do_is_refused(tiny_run: Callable[..., Any]) -> None:
    run = tiny_run()
    tokens = run.home / "tokens"
    one = f"data.stream={tokens}/train-0001-{{00000..00001}}.tar"
    for override, why in {
        "guards.spike_zscore=5": "a stream cannot go back",
        "data={mixture: {a: {tokens: x, weight: 1}}, stream: y}": "without which no mixture",
    }.items():
        process = run.start(*((one,) if "mixture" not in override else ()), override)
        _, err = process.communicate(timeout=patient())
        assert process.returncode == 2
        assert why in " ".join(err.split())


def test_a_stopped_run_goes_on_with_the_same_stream_and_not_with_another(
    tiny_run: Callable[..., Any],
) -> None:
    whole, parts = tiny_run("whole"), tiny_run("parts")
    pipe = f"data.stream=pipe:cat {whole.home}/tokens/train-0001-{{00000..00001}}.tar"
    spread = (pipe, "parallel.pipeline_stages=1")
    whole.train(*spread)
    parts.train(*spread, "train.tokens=640", "schedule.decay_tokens=1600")
    parts.train(*spread, "train.tokens=1600")
    assert parts.metrics()[-2]["stream_hash"] == whole.metrics()[-2]["stream_hash"]
    config, sources = load_config(whole.attempt / "config.yaml", [])
    mapped = Sources.load({"": (whole.home / "tokens", None, 1.0)})
    assert sources.fingerprint != mapped.fingerprint
    process = whole.start(*spread, "train.tokens=3200", nproc=1)
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 2
    assert "2 data-parallel ranks have shared out its shards, and 1 would read another order" in " ".join(
        err.split()
    )
    assert config.data.stream is not None
