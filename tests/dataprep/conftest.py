"""What the tests of tokens share: a small tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprep.tokenizer.train import train
from support.packed_corpus import TEXTS


@pytest.fixture(scope="session")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 400 ids."""
    directory = tmp_path_factory.mktemp("bpe")
    assert train(TEXTS, 400, directory) == 400
    return directory
