"""How far `outbound plan` is off: fits its three shares on published A100 rows, and predicts the others.

    python -m benchmarks.plan.run

benchmarks/plan/rows.csv holds the rows: the model, the batch, the layout, and the tokens a second and GPU
that its source printed. `fit` marks those that the shares are fitted on; the rest are only predicted.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from model import GPTConfig
from pipeline.costs.hardware import GPUS, Rates, Shares
from pipeline.costs.layers import layer_costs
from pipeline.costs.layout import ParallelLayout
from pipeline.costs.stages import stages_of
from pipeline.costs.time import OURS, Program, StageWork, stage_work, step_time

ROWS = Path(__file__).with_name("rows.csv")
ROUNDS = 20

FUSED = Program(model_widths=12, ff_widths=1, logit_passes=3)
"""FlashAttention's training code: residual sum and norm are one kernel, with the residual stream in fp32
(it reads 1 and 2 widths of bf16 and writes 2 and 1, twice a block); GELU is in its product and writes too;
the loss reads logits in bf16 once forward, and reads and writes them once backward."""
PROGRAMS = {
    "llm-foundry": OURS,
    "flash-attention": FUSED,
    "Lambda": FUSED,
    # TinyLlama: norm, rotary positions and SwiGLU are a kernel each, the loss is as above.
    "TinyLlama": Program(model_widths=12, ff_widths=2.5, logit_passes=3),
    # llm.c: residual sum and norm are one kernel in bf16, GELU is its own, the loss as above.
    "llm.c": Program(model_widths=8, ff_widths=2, logit_passes=3),
    # nanoGPT in December 2022: no flash attention, a GELU of eight operations in Python, and autocast, which
    # has norms, powers, softmax and loss in fp32 and copies what enters a product to bf16.
    "nanoGPT": replace(OURS, model_widths=24, ff_widths=38, score_bytes=73),
    "nanoGPT compiled": Program(model_widths=12, ff_widths=2, logit_passes=5, score_bytes=22),
    # torchtitan's selective checkpointing computes every other product again and all that stands between
    # them, but not attention. Uncompiled, an RMS norm is six operations, some in fp32, as rotary positions
    # are, and SwiGLU two.
    "torchtitan": replace(OURS, model_widths=59, ff_widths=4, products_again=0.5, attention_again=0),
    "torchtitan compiled": Program(11, 2.5, logit_passes=5, products_again=0.5, attention_again=0),
}
"""Counted by hand from what is known of each program's code; neither measured nor fitted."""

POWER = (500 / 700) ** (1 / 3)
"""Clocks go about with the cube root of power."""
H100 = GPUS["h100-80"]
MACHINES = GPUS | {
    # torchtitan's: 500 W instead of 700, and HBM2e.
    "h100-96": replace(
        H100,
        memory_bytes=96 * 2**30,
        matrix_flops=H100.matrix_flops * POWER,
        attention_flops=H100.attention_flops * POWER,
        memory_bytes_s=2400e9,
    )
}


@dataclass(frozen=True)
class Row:
    """One published measurement."""

    fit: bool
    source: str
    gpu: str
    model: GPTConfig
    layout: ParallelLayout
    accumulation: int
    measured: float
    """Tokens a second and GPU."""

    @property
    def sequences(self) -> int:
        """Of one step."""
        return self.layout.micro * self.layout.data * self.accumulation

    def seconds(self, shares: Shares, program: Program | None = None) -> float:
        """Predict a step of the row's program, or of another."""
        rates = Rates.of(MACHINES[self.gpu], shares, gpus_per_node=min(8, self.layout.gpus))
        stages = stages_of(self.model, self.layout)
        program = program or PROGRAMS[self.source]
        return step_time(
            self.model,
            stages,
            self.layout,
            sequences=self.sequences,
            rates=rates,
            precision="bf16",
            program=program,
        ).total

    @property
    def measured_s(self) -> float:
        """Seconds of a step."""
        return self.sequences * self.model.n_ctx / self.layout.gpus / self.measured

    def error(self, shares: Shares, program: Program | None = None) -> float:
        """Predicted over measured speed, less one."""
        return self.measured_s / self.seconds(shares, program) - 1


def rows() -> list[Row]:
    """Read rows.csv."""
    with ROWS.open(newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def fitted(given: Iterable[Row]) -> Shares:
    """Least squares of the relative error in time; what no share has a part in is put in as it stands."""
    given = [row for row in given if row.fit]
    shares = Shares(matrix=0.8, attention=0.6, memory=0.6)
    for _ in range(ROUNDS):
        left, right = [], []
        for row in given:
            gpu, work = MACHINES[row.gpu], _work(row)
            tokens = row.sequences * row.model.n_ctx / row.layout.gpus
            terms = tokens * np.array(
                [
                    work.matrix_flops / gpu.matrix_flops,
                    work.attention_flops / gpu.attention_flops,
                    (work.matrix_bytes + work.memory_bytes) / gpu.memory_bytes_s,
                ]
            )
            inverse = np.array([1 / shares.matrix, 1 / shares.attention, 1 / shares.memory])
            others = row.seconds(shares) - float(terms @ inverse)
            left.append(terms / row.measured_s)
            right.append(1 - others / row.measured_s)
        solved = np.linalg.lstsq(np.array(left), np.array(right), rcond=None)[0]
        matrix, attention, memory = (float(1 / each) for each in solved)
        shares = Shares(matrix=matrix, attention=attention, memory=memory)
    return shares


def _work(row: Row) -> StageWork:
    return stage_work(
        row.model,
        layer_costs(row.model),
        width=2,
        checkpointing=row.layout.checkpointing,
        program=PROGRAMS[row.source],
    )


def _row(line: dict[str, str]) -> Row:
    number = {
        name: int(line[name]) for name in ("n_layer", "n_head", "d_model", "d_ff", "n_ctx", "vocab_size")
    }
    layout = ParallelLayout(
        pipeline=1,
        data=int(line["gpus"]),
        zero=int(line["zero"]),
        micro=int(line["micro"]),
        # llm-foundry's runs have `mixed_precision: PURE`.
        reduce_dtype="bf16" if line["source"] == "llm-foundry" else "fp32",
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
    unseen = [row for row in given if not row.fit]
    others = [row for row in unseen if row.source != "llm-foundry"]
    for kind, asked, program in (
        ("not fitted", unseen, None),
        ("of other sources", others, None),
        ("of other sources, taken for Outbound's own", others, OURS),
    ):
        errors = [row.error(shares, program) for row in asked]
        middle = median(abs(error) for error in errors)
        print(f"| all {kind} | {len(errors)} | {middle:.1%} | {min(errors):+.0%} | {max(errors):+.0%} |")
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
