"""Loss and gradients of a batch are those of a short reference over Hugging Face's models, for every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.hf import hf_name
from pipeline.distributed.device import find_device
from pipeline.finetune.data import Encoded
from pipeline.finetune.group import Group
from pipeline.finetune.loop import Trainer
from pipeline.finetune.task import Task
from support.finetuning import ALONE, Tuning, write_pretrained

GRADED = {"kind": "similarity", "columns": {"first": "one", "second": "two", "label": "grade"}}
KINDS: dict[str, dict[str, Any]] = {
    "classification": {"kind": "classification"},
    "entailment": {"kind": "entailment"},
    "similarity": {"kind": "similarity"},
    "regression": {**GRADED, "target": "regression", "metrics": ["pearson"]},
    "ordinal": {**GRADED, "target": "ordinal", "metrics": ["spearman"]},
    "multiple_choice": {"kind": "multiple_choice"},
    "without the language model": {"kind": "classification", "lm_coef": 0.0},
}


def trainer(tuning: Tuning) -> Trainer:
    """A trainer with its first weights."""
    task = Task.of(tuning.config())
    made = Trainer.of(task, 0, Group(ALONE, find_device(0, "fp32")), attempt=None)  # type: ignore[arg-type]
    task.initial.fill(made.model, 0)
    return made


def reference(theirs: Any, ours: Trainer, indices: list[int]) -> Tensor:
    """The paper's loss (Radford et al. 2018, equation 5), example by example and token by token."""
    task, head = ours.task, ours.model.classifier
    data: Encoded = task.train
    language, losses = [], []
    for index in indices:
        states = []
        for ids in data.sequences[index]:
            tokens = torch.tensor([ids])
            hidden = theirs(tokens).last_hidden_state
            language.append(
                F.cross_entropy((hidden @ theirs.get_input_embeddings().weight.T)[0, :-1], tokens[0, 1:])
            )
            states.append(hidden[0, -1])
        target = data.gold[index]
        if task.settings.kind == "multiple_choice":
            losses.append(
                F.cross_entropy(torch.stack([head(state)[0] for state in states]), torch.tensor(target))
            )
            continue
        out = head(torch.stack(states).sum(0))
        if task.settings.target == "regression":
            losses.append((out[0] - target) ** 2)
        elif task.settings.target == "ordinal":
            below = min(int(target), 4)
            log = out.log_softmax(0)
            losses.append(-(target - below) * log[below + 1] - (below + 1 - target) * log[below])
        else:
            losses.append(F.cross_entropy(out, torch.tensor(target)))
    return torch.stack(losses).mean() + task.settings.lm_coef * torch.stack(language).mean()


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_smaller_steps_through_a_batch_have_its_gradients(tmp_path: Path, dropout: float) -> None:
    """Masks of dropout belong to the example."""
    directory = write_pretrained(tmp_path / "gpt")
    found = []
    for micro_batch in (None, 2):
        ours = trainer(Tuning.make(tmp_path, directory, dropout=dropout, micro_batch=micro_batch))
        losses = ours.gradients([3, 0, 7, 11, 4], 0, stop=False)
        gradients = {name: parameter.grad for name, parameter in ours.parameters.items()}
        found.append((torch.tensor(losses), gradients))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.slow(1)
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_loss_and_gradients_are_those_of_a_reference_over_transformers(
    tmp_path: Path, kind: dict[str, Any], norm: str
) -> None:
    import transformers

    directory = write_pretrained(tmp_path / "gpt", norm=norm)
    ours = trainer(Tuning.make(tmp_path, directory, dropout=0.0, **kind))
    theirs = transformers.AutoModel.from_pretrained(directory).eval()
    assert type(theirs).__name__ == {"post": "OpenAIGPTModel", "pre": "GPT2Model"}[norm]
    vocab_size = ours.model.config.vocab_size
    theirs.resize_token_embeddings(vocab_size, mean_resizing=False)
    with torch.no_grad():  # the new rows are drawn; the others both have read
        theirs.get_input_embeddings().weight[-3:] = ours.model.gpt.wte.weight[vocab_size - 3 : vocab_size]

    indices = [3, 0, 7, 11, 4]
    task_loss, lm_loss, _ = ours.gradients(indices, 0, stop=False)
    expected = reference(theirs, ours, indices)
    found = task_loss + ours.task.settings.lm_coef * lm_loss
    assert found == pytest.approx(expected.item(), abs=1e-5)

    names = dict(theirs.named_parameters())
    gradients = {name: parameter.grad for name, parameter in ours.parameters.items()}
    head = [*ours.model.classifier.parameters()]
    their_names = [
        hf_name(name, ours.model.config).removeprefix("transformer.")
        for name in gradients
        if "classifier" not in name
    ]
    wanted = torch.autograd.grad(expected, [*(names[name] for name in their_names), *head])
    for (name, gradient), other in zip(gradients.items(), wanted, strict=True):
        assert gradient is not None
        conv = name.endswith(("qkv.weight", "proj.weight", "fc.weight"))
        size = len(other) if name == "wte.weight" else None
        torch.testing.assert_close(
            gradient[:size], other.T if conv else other, rtol=1e-5, atol=1e-5, msg=name
        )
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients.values() if gradient is not None)


def test_swapping_the_texts_of_a_pair_changes_no_logit(tmp_path: Path, pretrained: Path) -> None:
    ours = trainer(Tuning.make(tmp_path, pretrained, kind="similarity"))
    model, data = ours.model.eval(), ours.task.train
    tokens, lengths, _ = data.batch(range(5), 40, "cpu")
    _, logits = model(tokens, lengths)
    _, swapped = model(tokens.flip(1), lengths.flip(1))
    assert torch.equal(logits, swapped)
    assert not torch.equal(tokens, tokens.flip(1))


def test_padding_changes_no_logit(tmp_path: Path, pretrained: Path) -> None:
    ours = trainer(Tuning.make(tmp_path, pretrained, kind="entailment"))
    model, data = ours.model.eval(), ours.task.train
    (narrow, n), (wide, w) = (data.batch([2], time, "cpu")[:2] for time in (data.lengths[2], 48))
    torch.testing.assert_close(model(narrow, n)[1], model(wide, w)[1], rtol=1e-6, atol=1e-6)


def test_every_seed_step_example_and_sequence_has_masks_of_its_own(tmp_path: Path, pretrained: Path) -> None:
    ours = trainer(Tuning.make(tmp_path, pretrained, kind="similarity", dropout=0.1))
    keys = []
    for ours.seed in (0, 1):
        for step in (0, 1):
            keys += ours._keys([3, 0], 2, step)
    assert len(keys) == len(set(keys)) == 2 * 2 * (2 * 2 + 2)
