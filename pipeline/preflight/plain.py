"""The same steps in plain torch: no DeepSpeed, no micro-batches, one process."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from model import GPT
from model.init import initialise
from pipeline.config import Optimizer
from pipeline.data.loader import MicroBatch, TrainLoader
from pipeline.preflight.cases import BATCHES, EOT, MODEL, RATES, SEED, Steps, first_sample, samples


@cache
def plain_torch(wanted: Optimizer) -> tuple[Steps, float]:
    """Return the steps and the held-out loss after them."""
    model = GPT(MODEL)
    initialise(model.named_parameters(), MODEL, SEED)
    matrices = [value for value in model.parameters() if value.dim() >= 2]
    others = [value for value in model.parameters() if value.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": wanted.weight_decay}, {"params": others, "weight_decay": 0.0}],
        betas=wanted.betas,
        eps=wanted.eps,
    )
    steps = []
    for step, (batch, rate) in enumerate(zip(BATCHES, RATES, strict=True)):
        loss = loss_of(model, whole_batch(first_sample(step), batch))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), wanted.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate * wanted.lr
        optimizer.step()
        steps.append((loss.item(), norm.item()))
    with torch.no_grad():
        held_out = float(loss_of(model, whole_batch(first_sample(len(BATCHES)), min(BATCHES))))
    return steps, held_out


def loss_of(model: GPT, batch: MicroBatch) -> Tensor:
    """The loss of all logits: summed where a position counts, over the number of all positions."""
    inputs, targets = batch
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum") / targets.numel()


def whole_batch(first: int, batch: int) -> MicroBatch:
    """Samples [first, first + batch) at once."""
    loader = TrainLoader(samples, eot=EOT, micro=batch, dp_rank=0, dp_size=1)
    (whole,) = loader.batches(first, batch)
    loader.close()
    return whole
