"""One contender in a process of its own: it scores every case, and prints scores, seconds and peak memory.

python -m benchmarks.evaluation.contender MODEL CASES BATCH_SIZE    # 0: ours; else lm-eval's HF backend
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.evaluation.requests import Pair
from benchmarks.measure import high_water

Score = Callable[[Sequence[Pair]], list[tuple[float, bool]]]


def ours(directory: Path) -> Score:
    """Our scores, with the batches that `model.score` makes."""
    from model.score import score
    from pipeline.checkpoint.weights import open_weights

    model = open_weights(directory).model()
    return lambda requests: score(model, requests)


def theirs(directory: Path, batch_size: int) -> Score:
    """The scores of lm-eval's HF backend, with its default settings."""
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(directory), device="cpu", dtype="float32", batch_size=batch_size)
    return lambda requests: lm._loglikelihood_tokens(
        [(("", ""), context, continuation) for context, continuation in requests], disable_tqdm=True
    )


def main() -> None:
    """Score all cases after a small one that warms up."""
    directory, cases, batch_size = sys.argv[1:]
    torch.set_num_threads(1)
    score = theirs(Path(directory), int(batch_size)) if int(batch_size) else ours(Path(directory))
    found = {}
    for name, requests in json.loads(Path(cases).read_bytes()).items():
        score(requests[:2])
        began = time.process_time()
        scores = score(requests)
        found[name] = time.process_time() - began, scores
    print(json.dumps({"found": found, "peak_bytes": high_water()}))


if __name__ == "__main__":
    main()
