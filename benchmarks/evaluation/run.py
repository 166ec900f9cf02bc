"""Scoring of published sets: ours against lm-eval's Hugging Face backend, with the same weights and requests.

python -m benchmarks.evaluation.run ../shared/data/evals --documents 16
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.evaluation.requests import Pair, requests
from benchmarks.measure import Run, run
from dataprep.tokenizer import tokenizer as tokenizers
from model import GPTConfig
from model.score import BATCH_TOKENS
from model.tree import Text, rows

BATCH_SIZES = (1, 4, 8, 16)
"""Of lm-eval's backend; the best for each case counts."""
D_MODEL, LAYERS, N_CTX, VOCABULARY = 768, 12, 1024, 50257


@dataclass(frozen=True)
class Case:
    """A set with a number of solved examples before each question, and how many times faster ours must be."""

    name: str
    shots: int
    goal: float

    @property
    def title(self) -> str:
        return f"{self.name}, {self.shots} shots"


TASKS = {
    "HellaSwag": "hellaswag",
    "ARC easy": "arc_easy",
    "ARC challenge": "arc_challenge",
    "OpenBookQA": "openbookqa",
    "BoolQ": "boolq",
    "LAMBADA": "lambada",
    "PIQA": "piqa",
}
"""A set's task in `configs/tasks`."""
CASES = [
    *(Case(name, 0, 2) for name in ("HellaSwag", "ARC easy", "ARC challenge", "OpenBookQA")),
    Case("BoolQ", 0, 1.3),
    Case("LAMBADA", 0, 1.3),
    Case("PIQA", 0, 1.15),
    *(Case(name, 10, 4) for name in ("HellaSwag", "ARC easy", "ARC challenge", "OpenBookQA")),
]


def main() -> None:
    """Build the requests, start each contender by itself, print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("data", type=Path, help="directory of published sets")
    options.add_argument("--tokenizer", type=Path, help="default: gpt2-bpe beside DATA")
    options.add_argument("--documents", type=int, default=16, help="of a set; a quarter of it with 10 shots")
    chosen = options.parse_args()
    tokenizer = tokenizers.load(chosen.tokenizer or chosen.data.parent / "gpt2-bpe")
    logging.disable(logging.WARNING)  # lm-eval's, about each task
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    cases = {
        case.title: requests(
            TASKS[case.name],
            chosen.data,
            tokenizer,
            N_CTX,
            chosen.documents // (4 if case.shots else 1),
            case.shots,
        )
        for case in CASES
    }
    with tempfile.TemporaryDirectory() as temporary:
        model, file = Path(temporary) / "model", Path(temporary) / "cases.json"
        write_model(model, tokenizer)
        file.write_text(json.dumps(cases))
        ran = {size: contender(model, file, size) for size in (0, *BATCH_SIZES)}
    print_tables(cases, ran)


def write_model(directory: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """GPT-2 small with random weights, as `outbound export` writes a model."""
    from benchmarks.step.run import write_weights

    config = GPTConfig(n_layer=LAYERS, n_head=12, d_model=D_MODEL, n_ctx=N_CTX, vocab_size=VOCABULARY)
    directory.mkdir()
    write_weights(config, directory, tokenizer.eot)
    (directory / tokenizers.HUGGINGFACE).write_text(tokenizer.huggingface(), encoding="utf-8")


def contender(model: Path, cases: Path, batch_size: int) -> tuple[Run, dict[str, Any]]:
    """Run one contender in a process. Returns what the process took, and the scores that it printed."""
    command = [sys.executable, "-m", "benchmarks.evaluation.contender", model, cases, str(batch_size)]
    ran = run(command, core=None)
    return ran, json.loads(ran.said.splitlines()[-1])


def by_products(pairs: Sequence[Pair]) -> float:
    """How many times the matrix products of ours lm-eval's backend needs.

    It computes each token of each text, and the head after each of them. Requests with one context and
    continuations of one token are one text to it.
    """
    token, head = 24 * LAYERS * D_MODEL**2, 2 * D_MODEL * VOCABULARY
    texts = [Text((*context, *end)[:-1], len(end)) for context, end in pairs]
    theirs = sum(len(tokens) for tokens in {text.tokens for text in texts}) * (token + head)
    ours = 0
    for row in rows(texts, largest=BATCH_TOKENS, pairs=2 * D_MODEL):
        ours += len(row.tokens) * token + len({place for _, at in row.asked for place in at}) * head
    return theirs / ours


def print_tables(cases: dict[str, list[Pair]], ran: dict[int, tuple[Run, dict[str, Any]]]) -> None:
    """Print the CPU seconds of each case, and the memory of each process."""
    print("| | requests | ours, CPU s | lm-eval + HF, CPU s | batch size | it / ours | goal | by products |")
    print("|---|---|---|---|---|---|---|---|")
    furthest, flipped = 0.0, 0
    for case in CASES:
        found = {size: printed["found"][case.title] for size, (_, printed) in ran.items()}
        ours, (best, size) = found[0][0], min((found[size][0], size) for size in BATCH_SIZES)
        print(
            f"| {case.title} | {len(cases[case.title])} | {ours:.2f} | {best:.2f} | {size} "
            f"| {best / ours:.2f} | >= {case.goal:g} | {by_products(cases[case.title]):.2f} |"
        )
        for size in BATCH_SIZES:
            for (one, greedy), (other, likely) in zip(found[0][1], found[size][1], strict=True):
                furthest, flipped = max(furthest, abs(one - other)), flipped + (greedy != likely)
    print(f"\nLargest difference of a log-likelihood: {furthest:.1e} nats; greedy in one alone: {flipped}\n")
    print("| | peak memory, MB | CPU s, all with start-up |")
    print("|---|---|---|")
    for size, (took, printed) in ran.items():
        name = f"lm-eval + HF, batch size {size}" if size else "ours"
        print(f"| {name} | {printed['peak_bytes'] / 1e6:,.0f} | {took.cpu_s:.0f} |")


if __name__ == "__main__":
    main()
