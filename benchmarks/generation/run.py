"""Writing of texts: ours against HF's `generate` with the same weights, in tokens a CPU second on one thread.

python -m benchmarks.generation.run
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor

from benchmarks.step.run import write_weights
from model import GPT, GPTConfig
from model.beam import Beam, beam_search
from model.generate import Sampling, generate
from model.layout import for_decoding
from pipeline.checkpoint.weights import open_weights

GOAL = 1.3
"""How many times our tokens a CPU second are to be theirs, over all rows of a shape."""


@dataclass(frozen=True)
class Shape:
    """A model, tokens of each prompt, and tokens that follow it."""

    config: GPTConfig
    prompt: int
    new: int


SHAPES = {
    "L2 D128": Shape(GPTConfig(n_layer=2, n_head=2, d_model=128, n_ctx=128, vocab_size=50257), 32, 64),
    "GPT-2 small": Shape(GPTConfig(n_layer=12, n_head=12, d_model=768, n_ctx=128, vocab_size=50257), 32, 32),
}
BEAMS = 4

Texts = list[list[int]]


@dataclass(frozen=True)
class Mode:
    """One way to write: our function, HF's arguments, numbers of prompts; `same`: the texts must be equal."""

    ours: Callable[[GPT, Texts, int], Texts]
    theirs: dict[str, object]
    prompts: tuple[int, ...]
    same: bool = False


def drawn(sampling: Sampling) -> Callable[[GPT, Texts, int], Texts]:
    """Our `generate` with this sampling."""
    return lambda model, prompts, new: generate(model, prompts, new, sampling)


MODES = {
    "greedy": Mode(drawn(Sampling(temperature=0)), {"do_sample": False}, (1, 4, 16), same=True),
    "sample, T 0.8": Mode(
        drawn(Sampling(temperature=0.8)), {"do_sample": True, "temperature": 0.8, "top_k": 0}, (1, 4, 16)
    ),
    "top-k 40": Mode(drawn(Sampling(top_k=40)), {"do_sample": True, "top_k": 40}, (1, 4, 16)),
    "top-p 0.9": Mode(drawn(Sampling(top_p=0.9)), {"do_sample": True, "top_p": 0.9, "top_k": 0}, (1, 4, 16)),
    f"{BEAMS} beams": Mode(
        lambda model, prompts, new: beam_search(model, prompts, new, Beam(BEAMS)),
        {"do_sample": False, "num_beams": BEAMS},
        (8,),
        same=True,
    ),
}

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def write_theirs(model: transformers.GPT2LMHeadModel, prompts: Texts, new: int, mode: Mode) -> Texts:
    """HF's texts, none of which ends before `new` tokens."""
    tokens = torch.tensor(prompts)
    written: Tensor = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=new, pad_token_id=0, **mode.theirs
    )
    texts: Texts = written[:, tokens.size(1) :].tolist()
    return texts


def open_both(directory: Path) -> tuple[GPT, transformers.GPT2LMHeadModel]:
    """Our model, laid out as `outbound generate` does it, and HF's, with the same weights."""
    theirs = transformers.GPT2LMHeadModel.from_pretrained(directory, attn_implementation="sdpa").eval()
    theirs.generation_config.eos_token_id = None
    return for_decoding(open_weights(directory).model()), theirs


def measure(name: str, shape: Shape, rounds: int) -> None:
    """Let both write in turn, compare texts that must be equal, and print a row for each mode and count."""
    with tempfile.TemporaryDirectory() as directory:
        write_weights(shape.config, Path(directory))
        ours, theirs = open_both(Path(directory))
    generator = torch.Generator().manual_seed(0)
    ratios = []
    for kind, mode in MODES.items():
        for count in mode.prompts:
            prompts = torch.randint(50256, (count, shape.prompt), generator=generator).tolist()
            taken = []
            for new in (2, *[shape.new] * rounds):  # the first round warms up
                began = time.process_time()
                found = mode.ours(ours, prompts, new)
                between = time.process_time()
                expected = write_theirs(theirs, prompts, new, mode)
                taken.append((between - began, time.process_time() - between))
                if mode.same and found != expected:
                    raise SystemExit(f"{name}, {kind}, {count} prompts: the texts are not HF's")
            del taken[0]
            ratio = statistics.median(their / our for our, their in taken)
            ratios.append(ratio)
            our, their = (
                count * shape.new / statistics.median(column) for column in zip(*taken, strict=True)
            )
            print(f"| {name} | {kind} | {count} | {their:,.0f} | {our:,.0f} | {ratio:.2f} |", flush=True)
    print(f"| {name} | geometric mean | | | | **{statistics.geometric_mean(ratios):.2f}**, goal {GOAL} |")


def bound(name: str, shape: Shape, rounds: int) -> None:
    """Print what a token of all prompts takes without the prompts' own time, and its matrix products alone.

    Both are greedy. The products are those of our layout, on other numbers, in the order of the model. Their
    bytes a second stand beside the fastest read of 256 MB in this run.
    """
    with tempfile.TemporaryDirectory() as directory:
        write_weights(shape.config, Path(directory))
        ours, theirs = open_both(Path(directory))
    matrices = [each.weight for each in ours.modules() if isinstance(each, torch.nn.Linear)]
    assert ours.head is not None
    matrices.append(ours.head.weight[: shape.config.vocab_size])
    size = 4 * sum(matrix.numel() for matrix in matrices)
    large = torch.ones(2**13, 2**13)
    read = min(seconds(lambda: large @ large[0]) for _ in range(10))
    for count in (1, 4, 16):
        prompts = torch.randint(50256, (count, shape.prompt)).tolist()
        inputs = {matrix.size(1): torch.randn(count, matrix.size(1)) for matrix in matrices}

        def products(inputs: dict[int, Tensor] = inputs) -> None:
            for matrix in matrices:
                inputs[matrix.size(1)] @ matrix.T

        def a_token(write: Callable[[Texts, int], object], prompts: Texts = prompts) -> float:
            first, whole = (
                min(seconds(lambda new=new: write(prompts, new)) for _ in range(rounds))  # type: ignore[misc]
                for new in (2, shape.new)
            )
            return (whole - first) / (shape.new - 2)

        our = a_token(lambda prompts, new: MODES["greedy"].ours(ours, prompts, new))
        their = a_token(lambda prompts, new: write_theirs(theirs, prompts, new, MODES["greedy"]))
        with torch.inference_mode():
            alone = min(seconds(products) for _ in range(5 * rounds))
        print(
            f"| {name} | {count} | {their * 1e3:.1f} | {our * 1e3:.1f} | {alone * 1e3:.1f} | "
            f"{their / alone:.2f} | {size / our / 1e9:.1f} of {large.nbytes / read / 1e9:.1f} |",
            flush=True,
        )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds that it takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure both shapes, or those that are named by their first letters."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--shapes", nargs="*", default=["L2", "GPT-2"], help="L2, GPT-2")
    given = options.parse_args()
    torch.set_num_threads(1)
    print("| shape | | prompts | HF, tokens a CPU s | ours | ours / HF |")
    print("|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        if name.startswith(tuple(given.shapes)):
            measure(name, shape, given.rounds)
    print()
    print("| shape | prompts | HF, ms a token | ours | our products | HF / these | GB/s, ours of a read |")
    print("|---|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        if name.startswith(tuple(given.shapes)):
            bound(name, shape, given.rounds)


if __name__ == "__main__":
    main()
