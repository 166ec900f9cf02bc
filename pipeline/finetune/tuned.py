"""A fine-tuned model as a directory: safetensors by canonical name, its tokenizer, and finetune.json."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from safetensors import safe_open

from dataprep.errors import DataError
from dataprep.store import checksummed_json, files
from dataprep.store.files import attempt_path, hash_file
from dataprep.tokenizer import tokenizer as tokenizers
from model import GPTConfig
from model.classifier import Classifier
from model.names import padded, unpadded
from pipeline.checkpoint.safetensors_writer import SafetensorsWriter
from pipeline.errors import RunError
from pipeline.finetune import record as records
from pipeline.finetune.initial import Initial
from pipeline.finetune.record import RECORD, TOKENIZER, WEIGHTS, Record
from pipeline.finetune.settings import Finetune
from pipeline.finetune.targets import Targets
from pipeline.finetune.transformations import Transformation


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model, and what makes its input and reads its output."""

    record: Record
    settings: Finetune
    model: Classifier
    """In evaluation mode, in fp32, on the CPU."""
    transformation: Transformation
    targets: Targets


def load(directory: Path) -> Tuned:
    """Open DIR/seed-N. Raises DataError when a file is missing, damaged or does not fit the others."""
    record = records.read(directory)
    if record.format != records.FORMAT:
        raise DataError(f"{directory / RECORD}: format {record.format!r}, expected {records.FORMAT!r}")
    path = directory / WEIGHTS
    if not path.is_file() or hash_file(path) != record.weights_xxh3_128:
        raise DataError(f"{path}: is not the file that {RECORD} names: {checksummed_json.RESTORE}")
    tokenizer = tokenizers.load(directory / TOKENIZER)
    if tokenizer.fingerprint != record.tokenizer:
        raise DataError(f"{directory / TOKENIZER}: is not the tokenizer that the model learned with")
    targets = Targets(record.target, tuple(record.labels))
    config = GPTConfig(**record.model)
    model = Classifier(config, targets.outputs, choice=record.kind == "multiple_choice", bias=record.bias)
    with torch.no_grad(), safe_open(path, framework="pt") as file:
        for name, parameter in model.canonical():
            parameter.copy_(padded(name, file.get_tensor(name), config))
    return Tuned(
        record=record,
        settings=Finetune.model_validate(record.config["finetune"]),
        model=model.eval(),
        transformation=Transformation(
            record.kind, tokenizer, record.specials, record.length, record.too_long
        ),
        targets=targets,
    )


def write(directory: Path, model: Classifier, initial: Initial, record: Record) -> None:
    """Write a model, its tokenizer and, last, what it is; `record` lacks the hashes of these.

    Raises RunError when a tensor is not finite.
    """
    initial.write_tokenizer(directory / TOKENIZER)
    weights = _write_weights(model, directory)
    fingerprint = initial.tokenizer.fingerprint
    whole = msgspec.structs.replace(record, weights_xxh3_128=weights, tokenizer=fingerprint)
    files.replace(directory / RECORD, checksummed_json.dump(whole))


def _write_weights(model: Classifier, directory: Path) -> str:
    """Write model.safetensors whole; returns its hash. Raises RunError when a tensor is not finite."""
    tensors = {name: unpadded(name, value.detach(), model.config) for name, value in model.canonical()}
    written = attempt_path(directory, WEIGHTS)
    shapes = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
    with SafetensorsWriter(written, shapes) as file:
        for name, value in tensors.items():
            file.write(name, value)
    if file.not_finite:
        written.unlink()
        raise RunError(f"{directory}: {file.not_finite} is not finite: lower finetune.lr")
    os.replace(written, directory / WEIGHTS)
    digest: str = file.file_record()["xxh3_128"]
    return digest
