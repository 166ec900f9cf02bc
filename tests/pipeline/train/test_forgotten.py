"""Runs over token shards in which documents were forgotten: their positions count in no layout's loss."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dataprep.pack import positions
from dataprep.pack.forget import erase
from dataprep.pack.manifest import Generation
from dataprep.tokenizer.train import train as train_tokenizer
from pipeline.data.sources import HeldOut, Sources
from pipeline.monitor.run_page import pictures, render
from support.packed_corpus import LAYOUT, TEXTS, built, run, stream
from support.runs import TinyRun

pytestmark = pytest.mark.slow(60)

SEQUENCES = 240
"""Of the held-out split: nearly all of it."""
SETTINGS = ("model.vocab_size=400", f"train.eval_sequences={SEQUENCES}", "optimizer.lr=0.003")
SHARE = 0.28


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed corpus in `whole`, and the same in `forgotten` without 28 % of its held-out positions."""
    home = tmp_path_factory.mktemp("forgotten")
    corpus = built(home / "corpus", range(40))
    train_tokenizer(TEXTS[:5], 400, home / "bpe")
    generation = run(corpus, home / "bpe", home / "whole", replace(LAYOUT, held_out=0.3))
    shutil.copytree(home / "whole", home / "forgotten")
    doc_ids = {span.doc_id for span in spans(home / "whole", generation, "train")[::3]}
    held_out = generation.splits["val"].tokens
    going = 0
    for span in spans(home / "whole", generation, "val"):
        if going + span.end - span.start < SHARE * held_out:
            going += span.end - span.start
            doc_ids.add(span.doc_id)
    erase(home / "forgotten", doc_ids, {})
    return home


def spans(tokens: Path, generation: Generation, split: str) -> list[positions.Span]:
    """The documents of a split in its order."""
    found, position = [], 0
    while position < generation.splits[split].tokens:
        found.append(positions.document_at(tokens, generation, split, position))
        position = found[-1].end
    return found


@pytest.fixture(scope="module")
def over_time(home: Path) -> TinyRun:
    """A run that was stopped, and resumed after a forget."""
    tiny = TinyRun.make(home, "over-time")
    shutil.copytree(home / "whole", home / "tokens")
    tiny.train(*SETTINGS)
    shutil.rmtree(home / "tokens")
    shutil.copytree(home / "forgotten", home / "tokens")
    tiny.train(*SETTINGS, "train.tokens=2400", "train.eval_every_steps=1")
    return tiny


def held_out(tokens: Path) -> HeldOut:
    return HeldOut.of(Sources.load({"": (tokens, None, 1.0)}), 16, SEQUENCES)


def test_a_forget_leaves_the_held_out_loss_where_it_was(over_time: TinyRun) -> None:
    """One step later; with the end-of-text counted, it rises by 0.15 here, and falls once that is learnt."""
    rows = [row for row in over_time.metrics() if "val_loss" in row]
    first = next(index for index, row in enumerate(rows) if row["val_set"] != rows[0]["val_set"])
    before, after = rows[first - 1], rows[first]
    assert after["step"] == before["step"] + 1
    assert 1 - after["val_counted"] / before["val_counted"] == pytest.approx(SHARE, abs=0.04)
    assert after["val_loss"] == pytest.approx(before["val_loss"], abs=0.1)


def test_metrics_and_the_page_mark_losses_on_different_sets(over_time: TinyRun, home: Path) -> None:
    rows = [row for row in over_time.metrics() if "val_loss" in row]
    whole, forgotten = (held_out(home / name) for name in ("whole", "forgotten"))
    sets = list(dict.fromkeys((row["val_set"], row["val_counted"]) for row in rows))
    assert sets == [(held.fingerprint, held.counted) for held in (whole, forgotten)]
    assert whole.counted == SEQUENCES * 16
    page = render(over_time.dir, pictures(over_time.dir))
    assert "another held-out set" in page
    assert "losses on different sets" in page
    changed = next(row["tokens"] for row in rows if row["val_set"] == forgotten.fingerprint)
    assert f"another held-out set from {changed:,} tokens on" in page
    alone = over_time.copy("whole-alone")
    shutil.rmtree(alone.attempt)
    alone.attempt.with_suffix(".json").unlink()  # the attempt after the forget
    assert "another held-out set" not in render(alone.dir, pictures(alone.dir))


LAYOUTS = {
    "micro-batches of 4": (1, ["parallel.zero_stage=0", "batch.micro_batch_size=4"]),
    "zero 1": (2, ["parallel.zero_stage=1"]),
    "zero 2": (2, ["parallel.zero_stage=2", "batch.micro_batch_size=2"]),
    "zero 3": (2, ["parallel.zero_stage=3"]),
    "stages": (2, ["parallel.pipeline_stages=2", "batch.micro_batch_size=2"]),
    "dualpipev": (2, ["parallel.pipeline_stages=2", "parallel.pipeline_schedule=dualpipev"]),
}


@pytest.fixture(scope="module")
def one_process(home: Path) -> TinyRun:
    """What every layout is to equal: one process, one sequence after another."""
    return trained(home, "one process", 1, ["parallel.zero_stage=0"])


def trained(home: Path, name: str, processes: int, layout: list[str]) -> TinyRun:
    tiny = TinyRun.make(home, name.replace(" ", "-"), n_layer=4)
    tokens = f"data.tokens={home / 'forgotten'}"
    tiny.train(*SETTINGS, tokens, "parallel.pipeline_stages=1", *layout, nproc=processes)
    return tiny


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_and_micro_batch_takes_the_same_steps(
    home: Path, one_process: TinyRun, name: str
) -> None:
    same = ("loss", "grad_norm", "counted", "val_loss", "val_counted", "val_set", "stream_hash")
    ours, theirs = (
        [{key: row[key] for key in same if key in row} for row in tiny.metrics()]
        for tiny in (trained(home, name, *LAYOUTS[name]), one_process)
    )
    assert any(row["counted"] < row["batch"] * 16 for row in one_process.metrics() if "loss" in row)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine.keys() == wanted.keys()
        for key, value in wanted.items():
            assert mine[key] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-5)), key


def test_a_batch_that_was_forgotten_as_a_whole_is_a_step_of_loss_zero(home: Path) -> None:
    """A run whose held-out set is gone trains on, without a held-out loss."""
    tokens = home / "all gone"
    shutil.copytree(home / "whole", tokens)
    generation = generation_of(tokens)
    gone = {span.doc_id for split in ("train", "val") for span in spans(tokens, generation, split)}
    erase(tokens, gone, {})
    (eot,) = set(stream(tokens, generation_of(tokens), "val"))
    assert eot == generation.tokenizer.eot
    tiny = TinyRun.make(home, "all-gone")
    summary = tiny.train(*SETTINGS, f"data.tokens={tokens}")
    assert summary["val_loss"] is None
    assert [row["loss"] for row in tiny.metrics()] == [0.0] * summary["steps"]
    assert [row["grad_norm"] for row in tiny.metrics()] == [0.0] * summary["steps"]
    assert "all of the held-out set was forgotten" in tiny.logs()


def generation_of(tokens: Path) -> Generation:
    return Sources.load({"": (tokens, None, 1.0)}).generations[0].content
