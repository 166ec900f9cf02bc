"""Several sources in fixed shares: exact at every prefix, without replacement, the same in any layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprep.pack.manifest import TokenizerIdentity
from pipeline.config import load_config
from pipeline.data.mixture import PERIOD, Mixture, quantised
from pipeline.data.sources import Samples
from pipeline.errors import RunError, UsageError
from support.patience import patient
from support.runs import VOCAB, change_generation

pytestmark = pytest.mark.slow(15)

MakeRun = Callable[..., Any]
WEIGHTS = st.lists(st.floats(0.001, 1000), min_size=1, max_size=9)


@given(WEIGHTS)
@settings(max_examples=25)
def test_every_prefix_holds_each_source_within_one_sample_of_its_share(weights: list[float]) -> None:
    parts = quantised(weights)
    assert sum(parts) == PERIOD
    schedule = Mixture(parts)
    seen: Counter[int] = Counter()
    for sample in range(PERIOD):
        source, index = schedule.source(sample)
        assert index == seen[source], "samples of a source are numbered without gaps"
        seen[source] += 1
        for each, part in enumerate(parts):
            assert abs(seen[each] - (sample + 1) * part / PERIOD) < 1
    assert [seen[each] for each in range(len(parts))] == list(parts)


@given(WEIGHTS, st.integers(0, 10**15))
@settings(max_examples=25)
def test_counts_far_out_agree_with_the_schedule(weights: list[float], sample: int) -> None:
    schedule = Mixture(quantised(weights))
    source, index = schedule.source(sample)
    counts = schedule.counts(sample)
    assert sum(counts) == sample
    assert counts[source] == index
    assert schedule.counts(sample + 1)[source] == index + 1


@given(WEIGHTS)
def test_quantised_weights_are_within_a_part_where_all_have_one(weights: list[float]) -> None:
    exact = [weight / sum(weights) * PERIOD for weight in weights]
    if min(exact) >= 1:
        assert all(abs(part - share) < 1 for part, share in zip(quantised(weights), exact, strict=True))


def mixed(tiny_run: MakeRun, write_tokens: Any, name: str, **weights: float) -> Any:
    """A run over directories of those names and weights."""
    run = tiny_run(name)
    sources = {}
    for number, (source, weight) in enumerate(weights.items()):
        directory = run.home / source
        if not directory.exists():
            write_tokens(directory, number=number + 1)
        sources[source] = {"tokens": str(directory), "weight": weight}
    del run.settings["data"]["tokens"]
    run.settings["data"]["mixture"] = sources
    return run


def test_a_mixture_trains_its_shares_and_another_layout_reads_the_same(
    tiny_run: MakeRun, write_tokens: Any
) -> None:
    run = mixed(tiny_run, write_tokens, "mixed", books=1, web=3)
    assert run.train()["unigram_entropy_nats"] is None
    last = run.metrics()[-2]
    assert last["share/web"] == pytest.approx(0.75, abs=1 / 100)
    assert last["share/books"] + last["share/web"] == pytest.approx(1)
    other = mixed(tiny_run, write_tokens, "other", books=1, web=3)
    other.train("parallel.pipeline_stages=1", "batch.micro_batch_size=2", nproc=1)
    assert [row.get("stream_hash") for row in other.metrics()] == [
        row.get("stream_hash") for row in run.metrics()
    ]
    assert other.losses() == pytest.approx(run.losses(), abs=1e-5)
    pinned = yaml.safe_load((run.attempt / "config.yaml").read_text())["data"]["mixture"]
    assert {name: source["generation"] for name, source in pinned.items()} == {"books": 1, "web": 2}

    process = run.start("train.tokens=3200", "data.mixture.web.weight=2")
    assert process.wait(timeout=patient()) == 2
    assert "the content of data.tokens" in process.stderr.read()


def test_each_source_is_read_without_replacement_and_by_a_key_of_its_own(
    tiny_run: MakeRun, write_tokens: Any, tmp_path: Path
) -> None:
    run = mixed(tiny_run, write_tokens, "keys", a=1, b=1)
    path = run.written()
    _, sources = load_config(path, [])
    samples = Samples.of(sources, n_ctx=16, seed=3, block=4)
    of = [source.generation.splits["train"].sequences(16) for source in sources.by_name.values()]
    places: dict[int, list[int]] = {0: [], 1: []}
    for sample in range(2 * max(of)):
        source, index = samples.mixture.source(sample)
        places[source].append(samples.orders[source](index))
    for source, count in enumerate(of):
        assert sorted(places[source][:count]) == list(range(count))
    assert places[0][:50] != places[1][:50]
    source, index = samples.mixture.source(11)
    start = samples.orders[source](index) * 16
    assert np.array_equal(samples(11), samples.streams[source].slice(start, 17))
    wanted = np.array([5, 900, 11, 12, 4097, 3])
    read = samples.rows(wanted)
    assert np.array_equal(read, [samples(sample) for sample in wanted.tolist()])


def test_what_cannot_be_mixed_is_refused(tiny_run: MakeRun, write_tokens: Any, tmp_path: Path) -> None:
    run = mixed(tiny_run, write_tokens, "refused", a=1, b=1)
    path = run.written()
    with pytest.raises(UsageError, match="give either tokens or mixture"):
        load_config(path, [f"data.tokens={run.home / 'a'}"])
    with pytest.raises(UsageError, match=r"data\.mixture\.a\.weight"):
        load_config(path, ["data.mixture.a.weight=0"])
    with pytest.raises(UsageError, match="of b holds"):
        load_config(path, ["train.eval_sequences=400", "batch.batch_size_multiple=4"])
    generation = run.home / "b" / "generation-2.json"
    identity = TokenizerIdentity(fingerprint="beef", vocab_size=VOCAB, eot=0)
    change_generation(generation, tokenizer=identity)
    with pytest.raises(RunError, match="another tokenizer"):
        load_config(path, [])
