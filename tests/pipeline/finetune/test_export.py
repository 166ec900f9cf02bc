"""transformers' classifiers compute the logits of an exported model, from the same texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UsageError
from pipeline.finetune import tuned
from pipeline.finetune.data import read
from pipeline.finetune.export import export
from support.finetuning import Tuning, write_pretrained

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("post", {"kind": "classification"}),
    ("pre", {"kind": "entailment", "specials": "eot"}),
    (
        "pre",
        {
            "kind": "classification",
            "columns": {"text": "text", "label": "grade"},
            "target": "regression",
            "metrics": ["pearson"],
        },
    ),
]


@pytest.mark.slow(2)
@pytest.mark.parametrize(("norm", "settings"), KINDS)
def test_transformers_gives_our_logits_for_our_texts(
    tmp_path: Path, norm: str, settings: dict[str, Any]
) -> None:
    import transformers

    tuning = Tuning.make(tmp_path, write_pretrained(tmp_path / "gpt", norm=norm), epochs=1, **settings)
    tuning.train()
    made = tuned.load(tuning.seed_0)
    found = export(tuning.seed_0, tmp_path / "exported")
    theirs: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "exported"
    ).eval()
    assert type(theirs).__name__ == found["class"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    examples = read(tmp_path / "dev.jsonl", made.settings)[:4]
    given = tokenizer(
        *map(list, zip(*(each.texts for each in examples), strict=True)), padding=True, return_tensors="pt"
    )
    for example, ids, mask in zip(examples, given["input_ids"], given["attention_mask"], strict=True):
        (sequence,), _ = made.transformation(example)
        assert ids[: mask.sum()].tolist() == sequence
        _, logits = made.model(torch.tensor([[sequence]]), torch.tensor([[len(sequence)]]))
        (row,) = theirs(input_ids=ids[None], attention_mask=mask[None]).logits
        torch.testing.assert_close(row, logits[0], rtol=0, atol=1e-5)
    if made.targets.labels:
        assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert made.model.classifier.bias.abs().max() > 1e-3, "a bias that had to be moved"


def test_a_model_that_transformers_cannot_compute_is_refused(tmp_path: Path, pretrained: Path) -> None:
    tuning = Tuning.make(tmp_path, pretrained, kind="similarity", epochs=1, dev=None)
    tuning.train()
    with pytest.raises(UsageError, match="similarity adds the states of two sequences"):
        export(tuning.seed_0, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
