"""Fine-tuning: our loop against a plain one over HF's models, in steps a CPU second on one thread.

python -m benchmarks.finetuning.run ../shared/data/finetune/sst2
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from dataprep.tokenizer.train import train as train_tokenizer
from model import GPTConfig, hf
from model.names import unpadded
from pipeline.checkpoint.attempts import Attempt
from pipeline.finetune.batches import epoch_batches
from pipeline.finetune.data import Encoded
from pipeline.finetune.group import Group
from pipeline.finetune.loop import Trainer
from pipeline.finetune.recipe import rate_of
from pipeline.finetune.settings import FinetuneConfig
from pipeline.finetune.task import Task

GOAL = 1.2
"""How many times our steps a CPU second are to be theirs."""
SEED, BATCH, DROPOUT, IGNORED = 0, 32, 0.1, -100
LEARNED_IDS = 4096
"""Ids of the tokenizer, which learns on the sentences."""
SAME_LOSS = 1e-5
"""Difference in nats of the two losses of a batch without dropout."""


@dataclass(frozen=True)
class Shape:
    """A model but for its norm, the batches of an epoch, and the epochs that are measured."""

    fields: dict[str, int]
    batches: int
    epochs: int


SHAPES = {
    "L4 D128 V4096": Shape(
        {"n_layer": 4, "n_head": 4, "d_model": 128, "n_ctx": 128, "vocab_size": LEARNED_IDS}, 16, 3
    ),
    "L6 D256 V40478": Shape(
        {"n_layer": 6, "n_head": 4, "d_model": 256, "n_ctx": 128, "vocab_size": 40478}, 2, 2
    ),
}
OURS, RANDOM, BY_LENGTH = "ours, as {}", "{}, random batches", "{}, our batches"
CLASSES = {"post": "OpenAIGPTModel", "pre": "GPT2Model"}

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class Theirs(nn.Module):
    """HF's model with a linear head at the last token, and its optimizer as HF's Trainer sets it up."""

    def __init__(self, ours: Trainer, directory: Path) -> None:
        super().__init__()
        hf.write(ours.task.model, lambda name: _whole(ours, name), directory)
        self.gpt = transformers.AutoModel.from_pretrained(directory)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(ours.task.model.d_model, ours.task.targets.outputs)
        self.head.load_state_dict(ours.model.classifier.state_dict())
        settings = ours.task.settings
        matrices = [value for value in self.parameters() if value.dim() > 1]
        vectors = [value for value in self.parameters() if value.dim() == 1]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)

    def loss(self, data: Encoded, indices: Sequence[int]) -> Tensor:
        """The paper's loss of a batch, padded to its longest: a scalar."""
        rows = [torch.tensor(data.sequences[index][0]) for index in indices]
        lengths = torch.tensor([len(row) for row in rows])
        tokens = pad_sequence(rows, batch_first=True)
        labels = pad_sequence(rows, batch_first=True, padding_value=IGNORED)[:, 1:]
        hidden = self.gpt(input_ids=tokens).last_hidden_state
        logits = self.head(self.dropout(hidden[torch.arange(len(rows)), lengths - 1]))
        words = F.linear(hidden[:, :-1], self.gpt.get_input_embeddings().weight)
        each = F.cross_entropy(words.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED)
        language = (each.view_as(labels).sum(1) / (lengths - 1)).mean()
        return F.cross_entropy(logits, data.targets[list(indices)]) + 0.5 * language

    def step(self, data: Encoded, indices: Sequence[int], rate: float) -> float:
        """One update: forward, backward, clipping, AdamW. Returns the loss."""
        self.train()
        loss = self.loss(data, indices)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def _whole(ours: Trainer, name: str) -> Tensor:
    return unpadded(name, ours.parameters[name].detach(), ours.task.model)


def trainer(shape: Shape, norm: str, home: Path, dropout: float) -> Trainer:
    """Our loop with its first weights; `home` holds the examples and the tokenizer."""
    finetune: dict[str, Any] = {
        "dir": home / "tuned",
        "tokenizer": home,
        "kind": "classification",
        "train": home / "train.tsv",
        "columns": {"text": 0, "label": 1},
        "header": False,
        "metrics": ["accuracy"],
        "batch": BATCH,
        "epochs": shape.epochs + 1,
        "dropout": dropout,
        "lm_coef": 0.5,
    }
    config = FinetuneConfig(finetune=finetune, model=GPTConfig(norm=norm, **shape.fields))
    made = Trainer.of(Task.of(config), SEED, Group.alone("cpu"), Attempt(home / "tuned", 1))
    made.task.initial.fill(made.model, SEED)
    return made


def require_same_loss(ours: Trainer, theirs: Theirs) -> None:
    """Compare the first losses of a batch; `ours` has no dropout. Raises SystemExit when they differ."""
    indices = list(range(BATCH))
    task_loss, lm_loss, _ = ours.gradients(indices, 0, stop=False)
    found = task_loss + 0.5 * lm_loss
    expected = theirs.eval().loss(ours.task.train, indices).item()
    if abs(found - expected) > SAME_LOSS:
        raise SystemExit(f"our loss of a batch is {found:.6f}, and HF's is {expected:.6f}: not the same step")


def padded(data: Encoded, batches: Iterable[Sequence[int]]) -> int:
    """Tokens of some batches, padding included."""
    return sum(len(indices) * max(data.lengths[index] for index in indices) for indices in batches)


def measure(name: str, shape: Shape, norm: str, home: Path) -> None:
    """Let all train epoch by epoch in turn on the same examples, and print a row for each."""
    ours = trainer(shape, norm, home, DROPOUT)
    theirs = {RANDOM: Theirs(ours, home), BY_LENGTH: Theirs(ours, home)}
    require_same_loss(trainer(shape, norm, home, 0.0), theirs[RANDOM])
    data = ours.task.train
    cpu: dict[str, list[float]] = {OURS: [], RANDOM: [], BY_LENGTH: []}
    tokens = dict.fromkeys(cpu, 0)
    for epoch in range(shape.epochs + 1):
        by_length = epoch_batches(data.lengths, BATCH, SEED, epoch, keep_rest=False)
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(epoch))
        shuffled = order.view(-1, BATCH).tolist()
        first = epoch * shape.batches
        for contender in cpu:
            batches = shuffled if contender == RANDOM else by_length
            began = time.process_time()
            for step, indices in enumerate(batches, first):
                rate = rate_of(ours.task.settings, step, ours.task.updates)
                if contender == OURS:
                    ours.gradients(indices, step, stop=False)
                    ours.update(rate)
                else:
                    theirs[contender].step(data, indices, rate)
            cpu[contender].append(time.process_time() - began)
            tokens[contender] += padded(data, batches)
    for contender, (_, *taken) in cpu.items():  # the first epoch warms up
        ratios = [it / our for it, our in zip(taken, cpu[OURS][1:], strict=True)]
        a_step = tokens[contender] / (first + shape.batches)
        goal = f">= {GOAL}" if contender == RANDOM else ""
        print(
            f"| {name} | {contender.format(CLASSES[norm])} | {a_step:,.0f} | "
            f"{shape.batches / statistics.median(taken):.2f} | {statistics.median(ratios):.2f} | "
            f"{min(ratios):.2f} to {max(ratios):.2f} | {goal} |",
            flush=True,
        )


def main() -> None:
    """Measure both shapes, or those that are named by their first letters, in both forms of norm."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("sst2", type=Path, help="folder of train.tsv: sentence, tab, label; no header")
    options.add_argument("--shapes", nargs="*", default=["L4", "L6"], help="L4, L6")
    options.add_argument("--norms", nargs="*", choices=CLASSES, default=[*CLASSES])
    given = options.parse_args()
    torch.set_num_threads(1)
    lines = (given.sst2 / "train.tsv").read_text().splitlines()
    print("| shape | | tokens a step | steps a CPU s | ours / it | lowest and highest | goal |")
    print("|---|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        if not name.startswith(tuple(given.shapes)):
            continue
        for norm in given.norms:
            with tempfile.TemporaryDirectory() as directory:
                home = Path(directory)
                train_tokenizer((line.split("\t")[0] for line in lines), LEARNED_IDS, home)
                (home / "train.tsv").write_text("\n".join(lines[: shape.batches * BATCH]) + "\n")
                measure(name, shape, norm, home)


if __name__ == "__main__":
    main()
