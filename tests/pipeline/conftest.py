"""Tiny token shards and tiny runs: what the training tests share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.pack.manifest import TokenizerIdentity
from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.train import train as train_tokenizer
from support.runs import TinyRun, change_generation, make_shards
from support.servers.wandb import WandbServer, serving


@pytest.fixture(name="write_tokens", scope="session")
def _write_tokens() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    return make_shards


@pytest.fixture(scope="session")
def tiny_runs() -> Callable[..., TinyRun]:
    """Make runs in a directory of the test's choice."""
    return TinyRun.make


@pytest.fixture
def tiny_run(tmp_path: Path) -> Callable[..., TinyRun]:
    """Make runs over fresh shards, which all runs of one test share."""
    make_shards(tmp_path / "tokens")
    return partial(TinyRun.make, tmp_path)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A run of two stages under ZeRO-1, without dropout, trained to its end. Copy it; leave it as it is."""
    home = tmp_path_factory.mktemp("finished")
    make_shards(home / "tokens")
    run = TinyRun.make(home)
    run.train()
    return run


@pytest.fixture(scope="session")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A short run over tokens with a tokenizer and a funnel, sampled and told to W&B. Leave it as it is.

    Its path has spaces, and letters beyond ASCII.
    """
    home = tmp_path_factory.mktemp("speaking") / "zwei Läufe, ñ データ"
    make_shards(home / "tokens")
    text = "the links of the people that voted, and the pages that the links lead to. " * 20
    train_tokenizer([text], 300, home / "tokens" / "tokenizer")
    spoken = tokenizer.load(home / "tokens" / "tokenizer")
    identity = TokenizerIdentity(fingerprint=spoken.fingerprint, vocab_size=spoken.vocab_size, eot=spoken.eot)
    change_generation(home / "tokens" / "generation-1.json", tokenizer=identity)
    funnel = [{"stage": "links", "unit": "submissions", "entered": 9, "passed": 7, "reasons": {"merged": 2}}]
    (home / "tokens" / "funnel-1.json").write_text(json.dumps(funnel))
    run = TinyRun.make(home, n_ctx=32)
    half = run.dir / "tokenizer"  # as a first start leaves it that is killed while it copies
    half.mkdir(parents=True)
    shutil.copy(home / "tokens" / "tokenizer" / "vocab.bpe", half)
    told = ("wandb.mode=offline", "train.prompts=[the, a]")
    run.train("train.tokens=640", "schedule.warmup_tokens=0", *told)
    return run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A W&B server on loopback, to which the environment points."""
    with serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
