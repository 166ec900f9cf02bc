"""A model of ours as a directory of Hugging Face's."""

from __future__ import annotations

from pathlib import Path

from model import GPT, hf
from model.names import unpadded


def write(model: GPT, directory: Path, eot: int | None = None) -> Path:
    """Write the weights of a model into an existing directory, which is returned."""
    parameters = dict(model.named_parameters())
    hf.write(
        model.config,
        lambda name: unpadded(name, parameters[name].detach(), model.config),
        directory,
        eot,
    )
    return directory
