"""Tiny token shards, and tiny runs over them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dataprep.pack.manifest import (
    DOCUMENT,
    FORMAT,
    Generation,
    Shard,
    Split,
    TokenizerIdentity,
    entropy,
)
from dataprep.store.checksummed_json import dump
from dataprep.store.files import Output, hash_file
from support.patience import wait_until
from support.ranks import Ranks

VOCAB = 61


def make_shards(
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
            table, counts = np.zeros(1, DOCUMENT), np.bincount(streams[split], minlength=VOCAB)
            listed.append(
                Shard(
                    tar=_published(directory / name),
                    table=_published(_saved(directory / f"{name[:-4]}.docs.npy", table)),
                    counts=_published(_saved(directory / f"{name[:-4]}.counts.npy", counts)),
                    tokens=sum(sizes),
                    documents=1,
                    blocks=list(zip(offsets, sizes, strict=True)),
                )
            )
        counts = np.bincount(streams[split])
        splits[split] = Split(
            tokens=at, documents=len(listed), unigram_entropy_nats=entropy(counts), shards=listed
        )
    generation = Generation(
        format=FORMAT,
        number=number,
        build="build-of-the-test",
        tokenizer=TokenizerIdentity(fingerprint="f00d", vocab_size=VOCAB, eot=0),
        dtype=dtype,
        block_tokens=700,
        held_out=0.1,
        increments={},
        splits=splits,
    )
    (directory / f"generation-{number}.json").write_bytes(dump(generation))
    return streams


def _saved(path: Path, array: np.ndarray[Any, Any]) -> Path:
    np.save(path, array)
    return path


def _published(path: Path) -> Output:
    return Output(path=path.name, bytes=path.stat().st_size, xxh3_128=hash_file(path))


@dataclass
class TinyRun:
    """A run of a two-block GPT over 16-token sequences; `settings` is its YAML."""

    home: Path
    name: str
    settings: dict[str, Any]

    @staticmethod
    def make(home: Path, name: str = "run", **model: Any) -> TinyRun:
        """Make a run that reads `home`/tokens."""
        settings = {
            "run": {"dir": str(home / name), "seed": 3},
            "data": {"tokens": str(home / "tokens"), "order_block_sequences": 4},
            "model": {"n_layer": 2, "n_head": 2, "d_model": 32, "n_ctx": 16, **model},
            "optimizer": {"lr": 0.01, "max_grad_norm": 0.5, "weight_decay": 0.1},
            "schedule": {"warmup_tokens": 300},
            "batch": {
                "global_batch_size": 12,
                "micro_batch_size": 1,
                "batch_size_multiple": 4,
                "ramp_start_batch_size": 4,
                "ramp_tokens": 400,
            },
            "parallel": {"pipeline_stages": 2, "zero_stage": 1},
            "train": {
                "tokens": 1600,
                "eval_every_steps": 4,
                "eval_sequences": 8,
                "checkpoint_every_steps": 4,
            },
            "wandb": {"mode": "disabled"},
        }
        return TinyRun(home, name, settings)

    @property
    def dir(self) -> Path:
        return self.home / self.name

    def copy(self, name: str) -> TinyRun:
        """Copy the run as it stands on disk, to go on from there another way."""
        other = TinyRun.make(self.home, name, **self.settings["model"])
        shutil.copytree(self.dir, other.dir)
        return other

    def written(self) -> Path:
        """The run's YAML, in a file."""
        path = self.home / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return path

    def start(self, *overrides: str, nproc: int = 2) -> subprocess.Popen[str]:
        """Start the command that trains."""
        code = "from pipeline.cli import train; from pipeline.cli.main import main; main()"
        words = ["train", str(self.written()), *overrides, "--nproc", str(nproc), "--json"]
        return subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def fork(self, *overrides: str, nproc: int = 2, worker: str = "pipeline.train.worker") -> Ranks:
        """Start ranks that train, as the command would."""
        return Ranks(self.home, [str(self.written()), *overrides], [{}] * nproc, worker)

    def train(self, *overrides: str, nproc: int = 2) -> dict[str, Any]:
        """Train to the end; return the run's summary."""
        ranks = self.fork(*overrides, nproc=nproc)
        assert ranks.wait() == [0] * nproc, ranks.reported() + ranks.told()
        summary: dict[str, Any] = json.loads((self.dir / "summary.json").read_text())
        return summary

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.dir / "metrics.jsonl").read_text().splitlines()]

    def timeless(self) -> list[dict[str, Any]]:
        """The metrics without what a clock or the machine decides."""
        measured = ("tokens_per_s", "mfu", "data_wait", "bubble", "compute_s", "straggler", "memory_gb")
        return [{k: v for k, v in row.items() if not k.startswith(measured)} for row in self.metrics()]

    def losses(self) -> dict[int, float]:
        """Step -> training loss."""
        return {row["step"]: row["loss"] for row in self.metrics() if "loss" in row}

    def wait_for_step(self, step: int, process: subprocess.Popen[str] | Ranks) -> None:
        """Return when so many steps have been taken by what runs."""
        path = self.dir / "metrics.jsonl"

        def taken() -> bool:
            if path.exists() and len(path.read_bytes().splitlines()) >= step:
                return True
            if process.poll() is not None:
                raise AssertionError(process.told() if isinstance(process, Ranks) else process.communicate())
            return False

        wait_until(taken, f"step {step}")
