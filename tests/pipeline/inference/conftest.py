"""A tiny model with random weights, its tokenizer, and both as a directory that commands open."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.tokenizer import Tokenizer
from dataprep.tokenizer.train import train
from model import GPT, GPTConfig
from model.init import initialise
from support import hf_directory

TEXT = "The quick brown fox. It jumps over the lazy dogs, and the dogs bark\nQ: Who barks?\nA: The dogs. "


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory: Path = tmp_path_factory.mktemp("tokenizer")
    train([TEXT * 20], 300, directory)
    return tokenizer.load(directory)


@pytest.fixture(scope="session")
def model(words: Tokenizer) -> GPT:
    config = GPTConfig(n_layer=2, n_head=2, d_model=16, n_ctx=24, vocab_size=words.vocab_size, init_std=0.3)
    model = GPT(config)
    initialise(model.named_parameters(), config, seed=0)
    return model.eval()


@pytest.fixture(scope="session")
def trained(model: GPT, words: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = hf_directory.write(model, tmp_path_factory.mktemp("trained"), words.eot)
    source = tmp_path_factory.mktemp("files")
    train([TEXT * 20], 300, source)
    for ours, theirs in (("vocab.bpe", "merges.txt"), ("encoder.json", "vocab.json")):
        shutil.copy(source / ours, directory / theirs)
    return directory
