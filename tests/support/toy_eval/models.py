"""Tiny runs that nobody has trained, and sets for them."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from functools import cache
from pathlib import Path

from safetensors.torch import save_file

from dataprep.store.files import hash_file
from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.train import train
from model import GPT, GPTConfig
from model.init import initialise
from model.names import unpadded
from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Origin
from pipeline.checkpoint.format import CheckpointWriter
from pipeline.checkpoint.run_state import RunState

WORDS = "the links of people that voted and pages lead to a good story about small cats".split()
N_CTX = 32


def write_tokenizer(directory: Path, vocab_size: int = 340) -> Path:
    """A small tokenizer of GPT-2's kind."""
    train([" ".join(WORDS * 20)], vocab_size, directory)
    return directory


@cache
def _model(seed: int, vocab_size: int) -> GPT:
    config = GPTConfig(n_layer=1, n_head=2, d_model=16, n_ctx=N_CTX, vocab_size=vocab_size, init_std=0.3)
    model = GPT(config)
    initialise(model.named_parameters(), config, seed)
    return model


def write_run(run: Path, step: int = 100, seed: int = 0, vocab_size: int = 340, scale: float = 1.0) -> Path:
    """A run with a checkpoint of this step; one that is there gets another checkpoint."""
    if not (run / "tokenizer").exists():
        write_tokenizer(run / "tokenizer", vocab_size)
    spoken = tokenizer.load(run / "tokenizer")
    number = attempts.latest(run)
    if number is None:
        attempt = attempts.claim(run, processes=1)
        attempt.begin(Origin(attempt=0, step=0))
        number = attempt.number
    model = _model(seed, spoken.vocab_size)
    writer = CheckpointWriter(attempts.folder(run, number), step)
    writer.prepare()
    tensors = {
        f"weight/{name}": scale * unpadded(name, value.detach(), model.config).contiguous()
        for name, value in model.named_parameters()
    }
    path = writer.share(0)
    save_file(tensors, path)
    share = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "xxh3_128": hash_file(path),
        "tensors": [*tensors],
    }
    state = RunState(
        step=step,
        tokens=64 * step,
        val_loss=3.5,
        config={"model": asdict(model.config)},
        tokenizer_fingerprint=spoken.fingerprint,
    )
    writer.publish(state, [share], keep=3)
    return run


def write_sets(data: Path, examples: int = 12) -> Path:
    """The two files of the made-up task."""
    data.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(0)
    for name in ("toy_val", "toy_train"):
        rows = [
            {
                "ctx": " ".join(drawn.choices(WORDS, k=drawn.randint(3, 9))),
                "endings": [" ".join(drawn.choices(WORDS, k=drawn.randint(1, 3))) for _ in range(4)],
                "label": drawn.randrange(4),
            }
            for _ in range(examples)
        ]
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data
