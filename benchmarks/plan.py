"""How far `outbound plan` is off: fits its three shares on published A100 rows, and predicts the others.

    python benchmarks/plan.py

benchmarks/plan_rows.csv holds the rows: the model, the batch, the layout, and the tokens a second and GPU
that its source printed. `fit` marks those that the shares are fitted on; the rest are only predicted.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from model import GPTConfig
from pipeline.plan.hardware import GPUS, Rates, Shares
from pipeline.plan.layout import Layout, stages_of
from pipeline.plan.time import Work, stage_work, step_time

ROWS = Path(__file__).parent / "plan_rows.csv"
ROUNDS = 20


@dataclass(frozen=True)
class Row:
    """One published measurement."""

    fit: bool
    source: str
    gpu: str
    model: GPTConfig
    layout: Layout
    accumulation: int
    measured: float
    """Tokens a second and GPU."""

    @property
    def sequences(self) -> int:
        """Of one step."""
        return self.layout.micro * self.layout.data * self.accumulation

    def seconds(self, shares: Shares) -> float:
        """Predict a step."""
        rates = Rates.of(GPUS[self.gpu], shares, gpus_per_node=min(8, self.layout.gpus))
        stages = stages_of(self.model, self.layout.pipeline)
        return step_time(self.model, stages, self.layout, self.sequences, rates, "bf16").total

    @property
    def measured_s(self) -> float:
        """Seconds of a step."""
        return self.sequences * self.model.n_ctx / self.layout.gpus / self.measured

    def error(self, shares: Shares) -> float:
        """Predicted over measured speed, less one."""
        return self.measured_s / self.seconds(shares) - 1


def rows() -> list[Row]:
    """Read plan_rows.csv."""
    with ROWS.open(newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def fitted(given: Iterable[Row]) -> Shares:
    """Least squares of the relative error in time; what no share has a part in is put in as it stands."""
    given = [row for row in given if row.fit]
    shares = Shares(0.8, 0.6, 0.6)
    for _ in range(ROUNDS):
        left, right = [], []
        for row in given:
            gpu, work = GPUS[row.gpu], _work(row)
            tokens = row.sequences * row.model.n_ctx / row.layout.gpus
            terms = tokens * np.array(
                [
                    work.matrix_flops / gpu.peak_flops,
                    work.attention_flops / gpu.peak_flops,
                    work.memory_bytes / gpu.memory_bytes_s,
                ]
            )
            inverse = np.array([1 / shares.matrix, 1 / shares.attention, 1 / shares.memory])
            others = row.seconds(shares) - float(terms @ inverse)
            left.append(terms / row.measured_s)
            right.append(1 - others / row.measured_s)
        solved = np.linalg.lstsq(np.array(left), np.array(right), rcond=None)[0]
        shares = Shares(*(float(1 / each) for each in solved))
    return shares


def _work(row: Row) -> Work:
    (layers,) = stages_of(row.model, 1)
    return stage_work(row.model, layers, 2, row.layout.checkpointing)


def _row(line: dict[str, str]) -> Row:
    number = {
        name: int(line[name]) for name in ("n_layer", "n_head", "d_model", "d_ff", "n_ctx", "vocab_size")
    }
    layout = Layout(
        pipeline=1,
        data=int(line["gpus"]),
        zero=int(line["zero"]),
        micro=int(line["micro"]),
        checkpointing=line["checkpointing"] == "True",
    )
    return Row(
        fit=line["fit"] == "yes",
        source=line["source"],
        gpu=line["gpu"],
        model=GPTConfig(**number, tied=line["tied"] == "True"),
        layout=layout,
        accumulation=int(line["accumulation"]),
        measured=float(line["tokens_s_gpu"]),
    )


def main() -> None:
    """Print the shares, the table of docs/plan.md, and the errors by source."""
    given = rows()
    shares = fitted(given)
    print(f"matrix {shares.matrix:.3f}, attention {shares.attention:.3f}, memory {shares.memory:.3f}\n")
    groups: dict[str, list[float]] = {}
    for row in given:
        kind = f"{row.source}, {row.gpu}" + (" (fitted)" if row.fit else "")
        groups.setdefault(kind, []).append(row.error(shares))
    print("| source, GPU | rows | median error | from | to |\n|---|---|---|---|---|")
    for kind, errors in groups.items():
        middle = median(abs(error) for error in errors)
        print(f"| {kind} | {len(errors)} | {middle:.1%} | {min(errors):+.0%} | {max(errors):+.0%} |")
    print("\n| source, GPU | layers, width, context | GPUs | micro | tokens/s a GPU | predicted | error |")
    print("|---|---|---|---|---|---|---|")
    for row in given:
        model, error = row.model, row.error(shares)
        micro = f"{row.layout.micro}{', again' if row.layout.checkpointing else ''}"
        print(
            f"| {row.source}, {row.gpu} | {model.n_layer}, {model.d_model}, {model.n_ctx} "
            f"| {row.layout.gpus} | {micro} "
            f"| {row.measured:,.0f} | {row.measured * (1 + error):,.0f} | {error:+.1%} |"
        )


if __name__ == "__main__":
    main()
