"""What lm-eval's own task files ask of published sets, in tokens."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from dataprep.tokenizer.tokenizer import Tokenizer

Pair = tuple[list[int], list[int]]
"""Tokens of a context and of its continuation."""
SETS = {
    "HellaSwag": ("hellaswag_val.jsonl", "hellaswag/hellaswag.yaml"),
    "ARC easy": ("arc_easy_val.jsonl", "arc/arc_easy.yaml"),
    "ARC challenge": ("arc_challenge_val.jsonl", "arc/arc_challenge.yaml"),
    "OpenBookQA": ("openbookqa_val.jsonl", "openbookqa/openbookqa.yaml"),
    "PIQA": ("piqa_val.jsonl", "piqa/piqa.yaml"),
    "BoolQ": ("boolq_val.jsonl", "super_glue/boolq/default.yaml"),
    "LAMBADA": ("lambada_sample.jsonl", "lambada/lambada_openai.yaml"),
}
"""A set's published file, and lm-eval's file of the task."""


def requests(name: str, data: Path, tokenizer: Tokenizer, documents: int, shots: int) -> list[Pair]:
    """The requests of a set's first documents; the shots come from the rest of the same file."""
    import lm_eval.tasks
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    file, described = SETS[name]
    rows = _rows(data / file)
    config = load_yaml(Path(lm_eval.tasks.__file__).parent / described)
    online = ("dataset_path", "dataset_name", "training_split", "validation_split", "tag")
    config = {key: value for key, value in config.items() if key not in online}
    split = {"test": Dataset.from_list(rows[:documents]), "train": Dataset.from_list(rows[documents:])}
    task = ConfigurableTask(
        config={**config, "custom_dataset": lambda **_: split, "test_split": "test", "fewshot_split": "train"}
    )
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(0)
    task.build_all_requests()
    return [_encode(tokenizer, *instance.args) for instance in task.instances]


def _rows(path: Path) -> list[dict[str, Any]]:
    packed = path.with_name(path.name + ".gz")
    content = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
    rows = [json.loads(line) for line in content.splitlines()]
    if "passage" in rows[0]:  # BoolQ's answer is a truth value, and lm-eval's file wants a number
        rows = [{**row, "label": int(row["answer"])} for row in rows]
    return rows


def _encode(tokenizer: Tokenizer, context: str, continuation: str) -> Pair:
    """Cut where lm-eval does: the tokens of both together, after as many as the context alone has."""
    stripped = context.rstrip()
    whole = tokenizer.encode(context + continuation)
    length = len(tokenizer.encode(stripped))
    return whole[:length], whole[length:]
