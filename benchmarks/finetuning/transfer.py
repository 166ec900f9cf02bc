"""Does pretraining help? SST-2 with few labels: a pretrained GPT, the same from scratch, and a control.

    python -m benchmarks.finetuning.transfer RUN CONTROL SST2 -o DIR

RUN: a run on novels. CONTROL: the same run on the same words in random order. SST2: the folder of train.tsv
and test.tsv. Every training has 120 to 124 updates. For each size and start, the peak rate is the one that
scores best on 1,000 rows of train.tsv that nothing else uses. Then each start learns from the same labels in
the same order, for each seed, and test.tsv is scored once. DIR/scores.jsonl keeps what is measured, and the
same command resumes from there. DIR/transfer.svg is the picture.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES = {200: 20, 500: 8, 2000: 2}
"""Labels -> epochs, for 120 to 124 updates of 32 examples."""
PEAKS = (2e-4, 5e-4, 1e-3)
SEEDS = range(5)
TUNING_SEED, TUNING_ROWS = 100, 1000
STARTS = ("pretrained", "scratch", "shuffled")
CONTROL_SIZE = 500
"""The control learns from so many labels only."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("control", type=Path)
    parser.add_argument("sst2", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    rows = (given.sst2 / "train.tsv").read_text().splitlines()
    random.Random(0).shuffle(rows)
    held, rows = rows[:TUNING_ROWS], rows[TUNING_ROWS:]
    given.output.mkdir(exist_ok=True)
    tuning = given.output / "tuning.tsv"
    tuning.write_text("\n".join(held) + "\n")
    where = {"pretrained": given.run, "scratch": given.run, "shuffled": given.control}
    kept = given.output / "scores.jsonl"
    for start in STARTS:
        for size in SIZES if start != "shuffled" else (CONTROL_SIZE,):
            for peak in PEAKS:
                measure(kept, rows, where[start], tuning, start=start, size=size, peak=peak, seed=TUNING_SEED)
            best = max(
                scored(kept, start=start, size=size, seed=TUNING_SEED), key=lambda row: row["accuracy"]
            )
            for seed in SEEDS:
                test = given.sst2 / "test.tsv"
                measure(kept, rows, where[start], test, start=start, size=size, peak=best["peak"], seed=seed)
    print(table(kept))
    draw(kept, given.output / "transfer.svg")


def scored(kept: Path, **wanted: Any) -> list[dict[str, Any]]:
    """The rows that have these values."""
    found = map(json.loads, kept.read_text().splitlines()) if kept.exists() else iter(())
    return [row for row in found if wanted.items() <= row.items()]


def measure(kept: Path, rows: list[str], run: Path, examples: Path, **what: Any) -> None:
    """Fine-tune once, and note the accuracy on a file of examples, unless it is there."""
    from pipeline.distributed.ranks import Rank
    from pipeline.distributed.stop import StopRequest
    from pipeline.finetune.data import Encoded
    from pipeline.finetune.examples import read
    from pipeline.finetune.group import Group
    from pipeline.finetune.predict import predict
    from pipeline.finetune.settings import load_config
    from pipeline.finetune.start import finetune_as_rank
    from pipeline.finetune.tuned import load

    if scored(kept, **what):
        return
    name = "{start}-{size}-{peak}-{seed}".format(**what)
    home = kept.parent
    labels = random.Random(what["seed"]).sample(rows, what["size"])
    (home / f"{name}.tsv").write_text("\n".join(labels) + "\n")
    config = {
        "finetune": {
            "dir": str(home / name),
            "init_from": str(run),
            "from_scratch": what["start"] == "scratch",
            "kind": "classification",
            "train": str(home / f"{name}.tsv"),
            "columns": {"text": 0, "label": 1},
            "header": False,
            "metrics": ["accuracy"],
            "lr": what["peak"],
            "warmup": 0.1,
            "epochs": SIZES[what["size"]],
            "seeds": [what["seed"]],
            "checkpoint_every": 10_000,
        },
        "wandb": {"mode": "disabled", "project": "transfer"},
    }
    path = home / f"{name}.yaml"
    path.write_text(json.dumps(config))
    finetune_as_rank(load_config(path, []), Rank(global_rank=0, world_size=1, local_rank=0), StopRequest())
    tuned = load(home / name / f"seed-{what['seed']}")
    found = read(examples, "classification", {"text": 0, "label": 1}, False)
    encoded = Encoded.of(found, tuned.transformation, tuned.targets)
    predicted = predict(tuned.model, encoded, tuned.targets, Group.alone("cpu"))
    accuracy = predicted.scores(encoded.gold, ["accuracy"])["accuracy"]
    row = {**what, "accuracy": accuracy, "examples": len(found)}
    with kept.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def table(kept: Path) -> str:
    """Means over the seeds, and the paired differences from the pretrained start with 95 % intervals."""
    lines = [
        "| labels | start | peak | mean | seeds | pretrained less this, paired |",
        "|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        ours = {row["seed"]: row["accuracy"] for row in finals(kept, "pretrained", size)}
        for start in STARTS:
            if not (found := [*finals(kept, start, size)]):
                continue
            scores = [100 * row["accuracy"] for row in found]
            each = ", ".join(f"{score:.1f}" for score in scores)
            less = [100 * ours[row["seed"]] - 100 * row["accuracy"] for row in found]
            paired = "" if start == "pretrained" else interval(less)
            mean = statistics.mean(scores)
            lines.append(f"| {size} | {start} | {found[0]['peak']:g} | {mean:.1f} | {each} | {paired} |")
    return "\n".join(lines)


def draw(kept: Path, path: Path) -> None:
    """Draw the accuracy of each seed, and the means, against the number of labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for start, colour in zip(STARTS, ("#1f5fa8", "#c2571a", "#7a7a7a"), strict=True):
        sizes = [size for size in SIZES if [*finals(kept, start, size)]]
        scores = [[100 * row["accuracy"] for row in finals(kept, start, size)] for size in sizes]
        axes.plot(sizes, [statistics.mean(each) for each in scores], "o-", color=colour, label=start)
        for size, each in zip(sizes, scores, strict=True):
            axes.plot([size] * len(each), each, ".", color=colour, alpha=0.4)
    axes.set_xscale("log")
    axes.set_xticks([*SIZES], [str(size) for size in SIZES])
    axes.minorticks_off()
    axes.set_xlabel("labelled sentences of SST-2")
    axes.set_ylabel("accuracy on its test set, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def finals(kept: Path, start: str, size: int) -> Iterator[dict[str, Any]]:
    return (row for row in scored(kept, start=start, size=size) if row["seed"] != TUNING_SEED)


def interval(differences: list[float]) -> str:
    """Mean and 95 % interval by Student's t.

    >>> interval([1.0, 2.0, 3.0, 4.0, 5.0])
    '+3.0 (+1.0 to +5.0)'
    """
    t = {5: 2.776, 10: 2.262}[len(differences)]
    mean, spread = statistics.mean(differences), statistics.stdev(differences)
    half = t * spread / len(differences) ** 0.5
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})"


if __name__ == "__main__":
    main()
