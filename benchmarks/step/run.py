"""A training step of ours against HF's GPT2LMHeadModel: CPU and wall time, memory, share of the GEMM peak.

python -m benchmarks.step.run
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

from benchmarks.measure import high_water, run
from model import GPT, GPTConfig, hf
from model.init import initialise
from model.loss import IGNORED
from model.names import unpadded
from pipeline.costs.layers import training_flops_per_token

SIZES = {
    "L4 D256 T128 V8192, batch 4": (
        GPTConfig(n_layer=4, n_head=4, d_model=256, n_ctx=128, vocab_size=8192),
        4,
    ),
    "L6 D384 T256 V50257, batch 4": (
        GPTConfig(n_layer=6, n_head=6, d_model=384, n_ctx=256, vocab_size=50257),
        4,
    ),
    "GPT-2 small: L12 D768 T128 V50257, batch 1": (
        GPTConfig(n_layer=12, n_head=12, d_model=768, n_ctx=128, vocab_size=50257),
        1,
    ),
}
USUAL, FUSED = "HF, AdamW as it comes", "HF, fused AdamW"
GOALS = dict(
    zip(SIZES, ({USUAL: 1.2, FUSED: 1.05}, {USUAL: 1.2, FUSED: 1.05}, {USUAL: 1.3, FUSED: 1.05}), strict=True)
)
"""How many times our speed is to be each of theirs."""
SEED, LR, DECAY, CLIP = 0, 3e-4, 0.1, 1.0
SAME_LOSS = 1e-5
"""Relative difference of two losses of the same step, all steps before it taken by each alone."""
GEMM = 2048
"""Rows of the square product that stands for the machine's peak."""

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

Step = Callable[[Tensor], float]
"""One step on tokens (batch, time): forward, backward, clipping, AdamW. Returns the loss."""


def ours(config: GPTConfig, directory: Path) -> Step:
    """The dense model and the optimizer as `pipeline.distributed.engine` sets it up, without an engine."""
    model = GPT(config)
    initialise(model.named_parameters(), config, SEED)

    def loss(tokens: Tensor) -> Tensor:
        # HF's labels: the last token has nothing to predict.
        targets = torch.nn.functional.pad(tokens[:, 1:], (0, 1), value=IGNORED)
        loss: Tensor = model(tokens, targets)
        return loss * targets.numel() / tokens[:, 1:].numel()  # HF's mean, too, is over those that count

    return stepper(loss, model, fused=True)


def theirs(config: GPTConfig, directory: Path, fused: bool | None) -> Step:
    """HF's model from `directory`, which holds our initial weights."""
    model = transformers.GPT2LMHeadModel.from_pretrained(directory, attn_implementation="sdpa").train()
    # The cache is for generation: training without it is the faster.
    return stepper(lambda tokens: model(tokens, labels=tokens, use_cache=False).loss, model, fused)


CONTENDERS: dict[str, Callable[[GPTConfig, Path], Step]] = {
    "ours": ours,
    USUAL: lambda config, directory: theirs(config, directory, None),
    FUSED: lambda config, directory: theirs(config, directory, True),
}


def stepper(loss_of: Callable[[Tensor], Tensor], model: nn.Module, fused: bool | None) -> Step:
    """The loop's body, the same for all; `fused` None is torch's default, on a CPU one tensor at a time."""
    matrices = [value for value in model.parameters() if value.dim() >= 2]
    others = [value for value in model.parameters() if value.dim() < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), fused=fused)

    def step(tokens: Tensor) -> float:
        loss = loss_of(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def write_weights(config: GPTConfig, directory: Path, eot: int | None = None) -> None:
    """Our initial weights as a directory of HF's; `eot` begins and ends texts."""
    model = GPT(config)
    initialise(model.named_parameters(), config, SEED)
    parameters = dict(model.named_parameters())
    hf.write(config, lambda name: unpadded(name, parameters[name].detach(), config), directory, eot)


def batches(config: GPTConfig, batch: int, steps: int) -> Iterable[Tensor]:
    """Random tokens (batch, time), the same in every process."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randint(config.vocab_size, (steps, batch, config.n_ctx), generator=generator)


def peak_bytes(size: str, name: str, directory: Path) -> int:
    """What building a model and two steps add to the memory of a fresh process."""
    code = (
        "import json, sys; sys.path[0:0] = json.loads(sys.argv[1]); from benchmarks.step import run as step;"
        "step.print_peak(*sys.argv[2:])"
    )
    command = [sys.executable, "-c", code, json.dumps(sys.path), size, name, str(directory)]
    return int(run(command).said.splitlines()[-1])


def print_peak(size: str, name: str, directory: str) -> None:
    """What that process does."""
    torch.set_num_threads(1)
    config, batch = SIZES[size]
    before = high_water()
    step = CONTENDERS[name](config, Path(directory))
    for tokens in batches(config, batch, 2):
        step(tokens)
    print(high_water() - before)


def gemm_flops() -> float:
    """Operations a CPU second of one large product."""
    left, right = torch.ones(2, GEMM, GEMM)
    began = time.process_time()
    torch.mm(left, right)
    return 2 * GEMM**3 / (time.process_time() - began)


def measure(size: str, rounds: int, directory: Path) -> None:
    """Step all contenders in turn over the same batches, compare their losses, print the rows."""
    config, batch = SIZES[size]
    write_weights(config, directory)
    peaks = {name: peak_bytes(size, name, directory) for name in CONTENDERS}
    steps = {name: build(config, directory) for name, build in CONTENDERS.items()}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    wall: dict[str, list[float]] = {name: [] for name in steps}
    products = []
    furthest = 0.0
    for turn, tokens in enumerate(batches(config, batch, rounds + 2)):
        losses = []
        for name in sorted(steps, key=lambda name: (list(steps).index(name) - turn) % len(steps)):
            began = time.process_time(), time.perf_counter()
            losses.append(steps[name](tokens))
            cpu[name].append(time.process_time() - began[0])
            wall[name].append(time.perf_counter() - began[1])
        products.append(gemm_flops())
        furthest = max(furthest, *(abs(each / losses[0] - 1) for each in losses))
    if furthest > SAME_LOSS:
        raise SystemExit(
            f"{size}: losses differ by {furthest:.1e}, more than {SAME_LOSS:.0e}: not the same step"
        )
    peak = statistics.median(products)
    flops = training_flops_per_token(config) * batch * config.n_ctx
    for name in steps:  # the first two rounds warm up and allocate the optimizer's state
        ratios = [other / own for other, own in zip(cpu[name][2:], cpu["ours"][2:], strict=True)]
        passed = [other / own for other, own in zip(wall[name][2:], wall["ours"][2:], strict=True)]
        taken = statistics.median(cpu[name][2:])
        goal = f">= {GOALS[size][name]}" if name in GOALS[size] else ""
        print(
            f"| {size} | {name} | {1000 * taken:.0f} | {1000 * statistics.median(wall[name][2:]):.0f} | "
            f"{statistics.median(ratios):.2f} | "
            f"{min(ratios):.2f} to {max(ratios):.2f} | {goal} | {statistics.median(passed):.2f} | "
            f"{peaks[name] / 1e6:,.0f} | {flops / taken / peak:.0%} |",
            flush=True,
        )
    print(f"{size}: losses within {furthest:.0e}, torch.mm {peak / 1e9:.0f} GFLOP/s", file=sys.stderr)


def main() -> None:
    """Measure every size, or those that are named by their first letters."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--sizes", nargs="*", default=["L4", "L6", "GPT-2"], help="L4, L6, GPT-2")
    given = options.parse_args()
    torch.set_num_threads(1)
    print(
        "| | | CPU ms a step | wall ms | it / ours, CPU | lowest and highest | goal | it / ours, wall "
        "| peak MB | share of GEMM peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for size in SIZES:
        if size.startswith(tuple(given.sizes)):
            with tempfile.TemporaryDirectory() as directory:
                measure(size, given.rounds, Path(directory))


if __name__ == "__main__":
    main()
