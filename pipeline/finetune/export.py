"""A fine-tuned model as a directory that transformers loads, where a class of its computes the same.

GPT2ForSequenceClassification and OpenAIGPTForSequenceClassification read one sequence, take the state at its
last token, and have no bias. So a classification or an entailment can be exported; a bias is put into the
last layer norm, which nothing but the head reads.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dataprep.audit.card import CARD
from dataprep.tokenizer.tokenizer import HUGGINGFACE
from model import GPTConfig, hf
from model.hf_directory import CONFIG
from model.names import unpadded
from pipeline.errors import UsageError
from pipeline.finetune import tuned
from pipeline.finetune.record import seeds_of
from pipeline.finetune.tuned import Tuned
from pipeline.monitor.model_card import tuned_card

CLASSES = {"pre": "GPT2ForSequenceClassification", "post": "OpenAIGPTForSequenceClassification"}
NAMES = ("<|start|>", "<|delimiter|>", "<|extract|>")
"""The special tokens in the exported tokenizer."""


def export(run: Path, directory: Path) -> dict[str, Any]:
    """Write config.json, safetensors and the tokenizer; the directory appears whole or not at all.

    run: DIR/seed-N, or DIR when it holds one seed. The tokenizer adds the special tokens by itself, to a text
    or a pair.

    Returns {"directory", "class", "step", "tokenizer"}. Raises UsageError for a model that transformers does
    not compute, or a taken directory.
    """
    if directory.exists():
        raise UsageError(f"{directory}: exists: choose another directory, or remove it first")
    (seed, *others) = seeds_of(run)
    if others:
        raise UsageError(f"{run}: holds the models of {1 + len(others)} seeds: export one, such as {seed}")
    made = tuned.load(seed)
    kind = made.record.kind
    if kind not in ("classification", "entailment"):
        read = "adds the states of two sequences" if kind == "similarity" else "compares several sequences"
        raise UsageError(
            f"{seed}: {kind} {read}, and {CLASSES[made.model.config.norm]} reads one: use `outbound eval`"
        )
    if made.record.target == "ordinal":
        raise UsageError(f"{seed}: transformers has no head for grades over six classes: use `outbound eval`")
    weights = _weights(made)
    try:
        described = hf.to_hf_config(made.model.config, made.transformation.tokenizer.eot)
    except ValueError as error:
        raise UsageError(f"{seed}: {error}") from None
    beside = directory.with_name(f"writing-{directory.name}")
    if beside.exists():
        shutil.rmtree(beside)
    beside.mkdir(parents=True)
    described |= _head_of_config(made)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    hf.write_tensors(made.model.config, weights.__getitem__, shapes, beside)
    (beside / CONFIG).write_text(json.dumps(described, indent=2) + "\n")
    _write_tokenizer(made, beside)
    (beside / CARD).write_text(_card(seed, made, beside), encoding="utf-8")
    beside.rename(directory)
    return {
        "directory": str(directory),
        "class": described["architectures"][0],
        "step": made.record.step,
        "tokenizer": True,
    }


def _card(seed: Path, made: Tuned, directory: Path) -> str:
    record = made.record
    facts = {
        "kind": record.kind,
        "classes": ", ".join(record.labels) or "a grade",
        "update": record.step,
        "updates of the whole training": record.updates,
        "examples trained on": record.train_examples,
        "examples of the dev set": record.dev_examples,
        "seed": record.seed,
        "hash of training and dev set": record.data,
    }
    settings = record.config.get("finetune", {})
    return tuned_card(
        seed, directory, model=made.model.config, settings=settings, scores=record.scores, facts=facts
    )


def _weights(made: Tuned) -> dict[str, Tensor]:
    """All tensors by canonical name, unpadded; the head is score.weight, and its bias stands elsewhere."""
    config: GPTConfig = made.model.config
    found = {name: unpadded(name, value.detach(), config) for name, value in made.model.canonical()}
    found.pop("head.weight", None)  # the language model's own matrix, which a classifier does not have
    found["score.weight"] = head = found.pop("classifier.weight")
    bias = found.pop("classifier.bias", None)
    if bias is not None:
        last = "ln_f.bias" if config.norm == "pre" else f"h.{config.n_layer - 1}.ln_2.bias"
        # The shortest vector that the head maps to its bias; there is one if its rows are independent.
        moved = torch.linalg.pinv(head.double()) @ bias.double()
        if not torch.allclose(head.double() @ moved, bias.double(), atol=1e-6):
            raise UsageError(
                "the head's rows depend on each other, and no last layer norm can hold its bias: "
                "fine-tune with finetune.bias=false"
            )
        found[last] = (found[last].double() + moved).float()
    return found


def _head_of_config(made: Tuned) -> dict[str, Any]:
    """What config.json holds of a classifier."""
    labels = [*made.targets.labels] or ["LABEL_0"]
    return {
        "architectures": [CLASSES[made.model.config.norm]],
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": "single_label_classification" if made.targets.labels else "regression",
        "pad_token_id": made.transformation.tokenizer.eot,
    }


def _write_tokenizer(made: Tuned, directory: Path) -> None:
    """Write a tokenizer.json that puts start, delimiter and extract where the model expects them."""
    tokenizer, specials = made.transformation.tokenizer, made.transformation.specials
    content = json.loads(tokenizer.huggingface())
    vocabulary = content["model"]["vocab"]
    eot = next(word for word, number in vocabulary.items() if number == tokenizer.eot)
    names = [eot if number == tokenizer.eot else name for name, number in zip(NAMES, specials, strict=True)]
    for name, number in zip(names, specials, strict=True):
        if name not in vocabulary:
            vocabulary[name] = number
            flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
            content["added_tokens"].append({"id": number, "content": name, "special": True, **flags})
    start, delimiter, extract = ({"SpecialToken": {"id": name, "type_id": 0}} for name in names)
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [start, first, extract],
        "pair": [start, first, delimiter, second, extract],
        "special_tokens": {
            name: {"id": name, "ids": [number], "tokens": [name]}
            for name, number in zip(names, specials, strict=True)
        },
    }
    (directory / HUGGINGFACE).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": made.transformation.length,
        "clean_up_tokenization_spaces": False,
        "pad_token": eot,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
