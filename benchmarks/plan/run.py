"""How far `outbound plan` is off: fits its three shares on published A100 rows, and predicts the others.

    python -m benchmarks.plan.run

benchmarks/plan/rows.csv holds the rows: the model, the batch, the layout, and the tokens a second and GPU
that its source printed. `fit` marks those that the shares are fitted on; the rest are only predicted.
benchmarks/plan/sources.csv gives the place of every row's figures, and how it was checked.
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
    # GPT-NeoX and Megatron-DeepSpeed do between the products what Outbound does. Where a row is without flash
    # attention, each score is written and read 22 bytes forward and backward by a fused softmax, and 8 more
    # when it is computed again; attention's dropout adds 15.
    "Pythia": OURS,
    "Pythia without flash attention": replace(OURS, score_bytes=30),
    "GPT-NeoX-20B": replace(OURS, score_bytes=30),
    "BLOOM trials": replace(OURS, score_bytes=45),
    "BLOOM": replace(OURS, score_bytes=45),
    "OPT-175B": replace(OURS, score_bytes=45),
}
"""Counted by hand from what is known of each program's code; neither measured nor fitted."""

LARGE = {source for source in PROGRAMS if source.startswith(("Pythia", "GPT-NeoX", "BLOOM", "OPT"))}
"""Sources of runs on 32 to 1,024 GPUs: DeepSpeed's, and one of FSDP; most have stages or share matrices."""
HALF = {"llm-foundry"} | LARGE
"""Sources that average gradients in 16 bits."""

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
    """Its replicas and stages; each of its GPUs stands for `tensor` of them."""
    tensor: int
    """GPUs that share every matrix (tensor parallelism, which Outbound does not have)."""
    network_bits_s: float | None
    """Bandwidth of a node's network, where it is not the GPU's usual one."""
    accumulation: int
    measured: float
    """Tokens a second and GPU."""

    @property
    def sequences(self) -> int:
        """Of one step."""
        return self.layout.micro * self.layout.data * self.accumulation

    def seconds(self, shares: Shares, program: Program | None = None) -> float:
        """Predict a step of the row's program, or of another."""
        rates = Rates.of(MACHINES[self.gpu], shares, min(8, self.gpus), self.network_bits_s)
        stages = stages_of(self.model, self.layout)
        program = program or PROGRAMS[self.source]
        step = step_time(
            self.model,
            stages,
            self.layout,
            sequences=self.sequences,
            rates=together(rates, self.tensor),
            precision="bf16",
            program=repeated(program, self.tensor),
        )
        in_turn = self.layout.micro_batches(self.sequences) + self.layout.pipeline - 1
        return step.total + in_turn * self._reduced_s(rates, -(-self.model.n_layer // self.layout.pipeline))

    def _reduced_s(self, rates: Rates, blocks: int) -> float:
        """Seconds in which a micro-batch's activations are summed over the `tensor` GPUs, in so many blocks.

        A block sums two activations forward, two backward, and two more when it is computed again (Shoeybi et
        al. 2019, section 3); a ring passes each element twice.
        """
        sums = 4 + 2 * self.layout.checkpointing
        elements = self.layout.micro * self.model.n_ctx * self.model.d_model
        return blocks * sums * 2 * elements * 2 * (self.tensor - 1) / self.tensor / rates.link_bytes

    @property
    def gpus(self) -> int:
        """All of the run."""
        return self.layout.gpus * self.tensor

    @property
    def measured_s(self) -> float:
        """Seconds of a step."""
        return self.sequences * self.model.n_ctx / self.gpus / self.measured

    def error(self, shares: Shares, program: Program | None = None) -> float:
        """Predicted over measured speed, less one."""
        return self.measured_s / self.seconds(shares, program) - 1


def together(rates: Rates, tensor: int) -> Rates:
    """Rates of so many GPUs of a node that work as one."""
    return replace(
        rates,
        matrix_flops=rates.matrix_flops * tensor,
        attention_flops=rates.attention_flops * tensor,
        memory_bytes=rates.memory_bytes * tensor,
        link_bytes=rates.link_bytes * tensor,
        gpus_per_node=max(1, rates.gpus_per_node // tensor),
    )


def repeated(program: Program, tensor: int) -> Program:
    """The traffic of so many GPUs that share a block: each has whole norms and residual sums, and each reads
    or writes the four operands of width d_model whole."""
    return replace(program, model_widths=program.model_widths * tensor + 4 * (tensor - 1))


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
        pipeline=int(line["pipeline"]),
        data=int(line["gpus"]) // int(line["pipeline"]) // int(line["tensor"]),
        zero=int(line["zero"]),
        micro=int(line["micro"]),
        # llm-foundry's runs have `mixed_precision: PURE`; DeepSpeed and FSDP average in 16 bits by default.
        reduce_dtype="bf16" if line["source"] in HALF else "fp32",
        checkpointing=line["checkpointing"] == "True",
    )
    return Row(
        fit=line["fit"] == "yes",
        source=line["source"],
        gpu=line["gpu"],
        model=GPTConfig(**number, tied=line["tied"] == "True"),
        layout=layout,
        tensor=int(line["tensor"]),
        network_bits_s=float(line["network_gbit_s"]) * 1e9 if line["network_gbit_s"] else None,
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
    large = [row for row in others if row.source in LARGE]
    for kind, asked, program in (
        ("not fitted", unseen, None),
        ("of other sources", others, None),
        ("of other sources, taken for Outbound's own", others, OURS),
        ("on 32 to 1,024 GPUs", large, None),
        ("on 32 to 1,024 GPUs, taken for Outbound's own", large, OURS),
    ):
        errors = [row.error(shares, program) for row in asked]
        middle = median(abs(error) for error in errors)
        print(f"| all {kind} | {len(errors)} | {middle:.1%} | {min(errors):+.0%} | {max(errors):+.0%} |")
    print(
        "\n| source, GPU | layers, width, context | GPUs | stages x tensor | micro | tokens/s a GPU", end=""
    )
    print(" | predicted | error | taken for ours |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in given:
        model, error = row.model, row.error(shares)
        micro = f"{row.layout.micro}{', again' if row.layout.checkpointing else ''}"
        print(
            f"| {row.source}, {row.gpu} | {model.n_layer}, {model.d_model}, {model.n_ctx} "
            f"| {row.gpus} | {row.layout.pipeline} x {row.tensor} | {micro} "
            f"| {row.measured:,.0f} | {row.measured * (1 + error):,.0f} | {error:+.1%} "
            f"| {row.error(shares, OURS):+.1%} |"
        )


if __name__ == "__main__":
    main()
