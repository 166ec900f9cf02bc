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

import msgspec
import numpy as np
import xxhash
import yaml

from dataprep.pack.manifest import (
    DOCUMENT,
    FORMAT,
    Generation,
    Shard,
    Split,
    TokenizerIdentity,
    generation_path,
    load_generation,
    split_of,
)
from dataprep.store import checksummed_json
from dataprep.store.files import Output, hash_file
from pipeline.checkpoint import attempts
from pipeline.monitor.run_files import joined_metrics
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
    streams, splits = {}, dict[str, Split]()
    for split, blocks_of in (("train", shards), ("val", ((700, 300),))):
        tokens = [0]
        while len(tokens) < sum(map(sum, blocks_of)):
            tokens.append(int(successors[tokens[-1], rng.integers(3)]))
        streams[split] = np.array(tokens, dtype=dtype)
        at = 0
        listed = []
        for index, sizes in enumerate(blocks_of):
            stem = f"{split}-{number:04d}-{index:05d}"
            inside = streams[split][at : at + sum(sizes)]
            at += len(inside)
            listed.append(_write_shard(directory, stem, inside, sizes))
        splits[split] = split_of(directory, listed, VOCAB)
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
    generation_path(directory, number).write_bytes(checksummed_json.dump(generation))
    return streams


def _write_shard(directory: Path, stem: str, tokens: np.ndarray[Any, Any], sizes: Sequence[int]) -> Shard:
    """A shard of one document, in blocks of these sizes."""
    tar, table, counts = (directory / f"{stem}{ending}" for ending in (".tar", ".docs.npy", ".counts.npy"))
    with tarfile.open(tar, "w") as archive:
        for block, data in enumerate(np.split(tokens, np.cumsum(sizes)[:-1])):
            member = tarfile.TarInfo(f"{block:06d}.bin")
            member.size = data.nbytes
            archive.addfile(member, io.BytesIO(data.tobytes()))
    with tarfile.open(tar) as archive:
        offsets = [member.offset_data for member in archive]
    np.save(table, np.array([(0, xxhash.xxh3_128_digest(stem.encode()))], DOCUMENT))
    np.save(counts, np.bincount(tokens, minlength=VOCAB))
    outputs = [
        Output(path=path.name, bytes=path.stat().st_size, xxh3_128=hash_file(path))
        for path in (tar, table, counts)
    ]
    return Shard(
        tar=outputs[0],
        table=outputs[1],
        counts=outputs[2],
        tokens=len(tokens),
        documents=1,
        blocks=list(zip(offsets, sizes, strict=True)),
    )


def change_generation(path: Path, **changes: Any) -> None:
    """Let a generation say something else, as if it had been published so."""
    changed = msgspec.structs.replace(load_generation(path), origin="", **changes)
    path.write_bytes(checksummed_json.dump(changed))


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
        return self.summary()

    @property
    def attempt(self) -> Path:
        """The folder of the attempt that owns the run."""
        return attempts.folder(self.dir, attempts.chain(self.dir)[0].number)

    def summary(self) -> dict[str, Any]:
        """How the last attempt ended."""
        summary: dict[str, Any] = json.loads((self.attempt / "summary.json").read_text())
        return summary

    def logs(self) -> str:
        """What all attempts have logged, and processes that did not learn theirs."""
        return "".join(path.read_text() for path in sorted(self.dir.rglob("log.txt")))

    def metrics(self) -> list[dict[str, Any]]:
        """The run as it stands, without who noted a row and when."""
        rows = joined_metrics(self.dir)
        return [{name: row[name] for name in row if name not in ("attempt", "time")} for row in rows]

    def timeless(self) -> list[dict[str, Any]]:
        """The metrics without what a clock or the machine decides."""
        measured = ("tokens_per_s", "mfu", "data_wait", "bubble", "compute_s", "straggler", "memory_gb")
        return [{k: v for k, v in row.items() if not k.startswith(measured)} for row in self.metrics()]

    def losses(self) -> dict[int, float]:
        """Step -> training loss."""
        return {row["step"]: row["loss"] for row in self.metrics() if "loss" in row}

    def wait_for_step(self, step: int, process: subprocess.Popen[str] | Ranks) -> None:
        """Return when so many steps have been taken by what runs."""

        def taken() -> bool:
            if attempts.numbers(self.dir) and len(self.metrics()) >= step:
                return True
            if process.poll() is not None:
                raise AssertionError(process.told() if isinstance(process, Ranks) else process.communicate())
            return False

        wait_until(taken, f"step {step}")
