"""What tests of several rooms share: a small tokenizer, and a small web."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataprep.tokenizer.train import train
from support.packed_corpus import TEXTS
from support.servers.web import Web, serving


@pytest.fixture(scope="session")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 400 ids."""
    directory = tmp_path_factory.mktemp("bpe")
    assert train(TEXTS, 400, directory) == 400
    return directory


@pytest.fixture
def site() -> Iterator[Web]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Web]:
    """One web for all tests of a file."""
    with serving() as served:
        yield served
