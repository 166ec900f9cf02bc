"""A tiny pretrained model, which the tests of fine-tuning share."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.finetuning import write_pretrained


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A post-norm model in Hugging Face's format, with its tokenizer. Leave it as it is."""
    return write_pretrained(tmp_path_factory.mktemp("pretrained") / "gpt1")
