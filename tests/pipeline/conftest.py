"""Tiny token shards and tiny runs: what the training tests share."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
import yaml

VOCAB = 61


def write_tokens(
    directory: Path,
    number: int = 1,
    shards: Sequence[Sequence[int]] = ((700, 700, 500), (700, 141)),
    dtype: str = "<u2",
) -> dict[str, np.ndarray[Any, Any]]:
    """Write a generation in the shard format; `shards` gives the block sizes of the training shards."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    successors = rng.integers(0, VOCAB, size=(VOCAB, 3))  # few successors a token: there is much to learn
    streams, splits = {}, {}
    for split, blocks_of in (("train", shards), ("val", ((700, 300),))):
        tokens = [0]
        while len(tokens) < sum(map(sum, blocks_of)):
            tokens.append(int(successors[tokens[-1], rng.integers(3)]))
        streams[split] = np.array(tokens, dtype=dtype)
        at = 0
        listed = []
        for index, sizes in enumerate(blocks_of):
            name = f"{split}-{number:04d}-{index:05d}.tar"
            with tarfile.open(directory / name, "w") as tar:
                for block, size in enumerate(sizes):
                    data = streams[split][at : at + size].tobytes()
                    member = tarfile.TarInfo(f"{block:06d}.bin")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                    at += size
            with tarfile.open(directory / name) as tar:
                offsets = [member.offset_data for member in tar]
            data = (directory / name).read_bytes()
            listed.append(
                {
                    "path": name,
                    "bytes": len(data),
                    "xxh3_128": xxhash.xxh3_128_hexdigest(data),
                    "tokens": sum(sizes),
                    "documents": 1,
                    "blocks": list(zip(offsets, sizes, strict=True)),
                }
            )
        counts = np.bincount(streams[split])
        shares = counts[counts > 0] / counts.sum()
        splits[split] = {
            "tokens": at,
            "documents": len(listed),
            "unigram_entropy_nats": float(-(shares * np.log(shares)).sum()),
            "shards": listed,
        }
    body = {
        "format": "outbound-tokens/1",
        "generation": number,
        "build": "build-of-the-test",
        "tokenizer": {"fingerprint": "f00d", "vocab_size": VOCAB, "eot": 0},
        "dtype": dtype,
        "block_tokens": 700,
        "splits": splits,
    }
    (directory / f"generation-{number}.json").write_text(json.dumps(body))
    return streams


@dataclass
class TinyRun:
    """A run of a two-block GPT over 16-token sequences; `settings` is its YAML."""

    settings: dict[str, Any]
    path: Path
    streams: dict[str, np.ndarray[Any, Any]] = field(repr=False)

    @property
    def dir(self) -> Path:
        return Path(self.settings["run"]["dir"])

    def command(self, *overrides: str, nproc: int = 2) -> list[str]:
        self.path.write_text(yaml.safe_dump(self.settings))
        code = "from pipeline.cli import train; from pipeline.cli.main import main; main()"
        return [sys.executable, "-c", code, "train", str(self.path), *overrides, "--nproc", str(nproc), "--json"]

    def start(self, *overrides: str, nproc: int = 2) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            self.command(*overrides, nproc=nproc),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def train(self, *overrides: str, nproc: int = 2) -> dict[str, Any]:
        """Train to the end of the command; return its JSON result."""
        process = self.start(*overrides, nproc=nproc)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        result: dict[str, Any] = json.loads(out)
        return result

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.dir / "metrics.jsonl").read_text().splitlines()]

    def steps(self) -> list[dict[str, Any]]:
        return [row for row in self.metrics() if "loss" in row]


@pytest.fixture
def tiny_run(tmp_path: Path) -> Callable[..., TinyRun]:
    """Make a run over fresh shards; calls in one test share the shards."""
    streams = write_tokens(tmp_path / "tokens")

    def make(name: str = "run", **model: Any) -> TinyRun:
        settings = {
            "run": {"dir": str(tmp_path / name), "seed": 3},
            "data": {"tokens": str(tmp_path / "tokens"), "order_block": 4},
            "model": {"n_layer": 2, "n_head": 2, "d_model": 32, "n_ctx": 16, **model},
            "optimizer": {"lr": 0.01, "clip": 0.5, "weight_decay": 0.1},
            "schedule": {"warmup_tokens": 300},
            "batch": {"sequences": 12, "micro": 1, "quantum": 4, "ramp_start": 4, "ramp_tokens": 400},
            "parallel": {"pipeline": 2, "zero": 1},
            "train": {"tokens": 1600, "eval_every": 4, "eval_sequences": 8, "checkpoint_every": 4},
            "wandb": {"mode": "disabled"},
        }
        return TinyRun(settings, tmp_path / f"{name}.yaml", streams)

    return make
