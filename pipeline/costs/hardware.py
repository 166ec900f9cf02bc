"""GPUs and networks as data, and how much of their peaks a training step gets."""

from __future__ import annotations

from dataclasses import dataclass, replace

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class GPU:
    """One kind of GPU, by its data sheet."""

    memory_bytes: float
    peak_flops: float
    """Dense bf16 operations a second."""
    matrix_flops: float
    """Of these, what the fastest product of any shape reaches: power and clocks set it, not only the chip."""
    attention_flops: float
    """What FlashAttention-2 reaches at best, which torch's attention is: it uses no Hopper instructions."""
    memory_bytes_s: float
    link_bytes_s: float
    """To another GPU of the node, in one direction."""
    network_bits_s: float
    """Of its usual node's network, all adapters together; `--network` says another."""


# Peaks, memory and bandwidths: NVIDIA's data sheets; memory is what nvidia-smi shows. Usual nodes: DGX A100
# and DGX H100 have eight adapters of 200 and 400 Gbit/s, workstations and inference servers one of 100.
# Fastest products in bf16: measured by S. Bekman (ml-engineering, "Maximum Achievable Matmul FLOPS"); of
# those he does not list, 80 % of the peak, as of an H100. Attention: Dao 2023 measured 230 TFLOP/s on an A100
# and up to 335 on an H100; others are assumed to reach the same share of their peak, Ampere and Ada as the
# A100, Blackwell as Hopper.
_A100 = GPU(
    memory_bytes=40_960 * 2**20,
    peak_flops=312e12,
    matrix_flops=271e12,
    attention_flops=230e12,
    memory_bytes_s=1555e9,
    link_bytes_s=300e9,
    network_bits_s=1600e9,
)
_H100 = GPU(
    memory_bytes=81_559 * 2**20,
    peak_flops=989e12,
    matrix_flops=794e12,
    attention_flops=335e12,
    memory_bytes_s=3350e9,
    link_bytes_s=450e9,
    network_bits_s=3200e9,
)
GPUS: dict[str, GPU] = {
    "a100-40": _A100,
    "a100-80": replace(_A100, memory_bytes=81_920 * 2**20, memory_bytes_s=2039e9),
    "h100-80": _H100,
    "h200-141": replace(_H100, memory_bytes=143_771 * 2**20, memory_bytes_s=4800e9),
    "b200-180": GPU(
        memory_bytes=183_359 * 2**20,
        peak_flops=2250e12,
        matrix_flops=1745e12,
        attention_flops=760e12,
        memory_bytes_s=8000e9,
        link_bytes_s=900e9,
        network_bits_s=3200e9,
    ),
    "l40s-48": GPU(
        memory_bytes=46_068 * 2**20,
        peak_flops=362e12,
        matrix_flops=290e12,
        attention_flops=267e12,
        memory_bytes_s=864e9,
        link_bytes_s=32e9,
        network_bits_s=100e9,
    ),
    "a6000-48": GPU(
        memory_bytes=49_140 * 2**20,
        peak_flops=155e12,
        matrix_flops=124e12,
        attention_flops=114e12,
        memory_bytes_s=768e9,
        link_bytes_s=32e9,
        network_bits_s=100e9,
    ),
    "rtx4090-24": GPU(
        memory_bytes=24_564 * 2**20,
        peak_flops=165e12,
        matrix_flops=132e12,
        attention_flops=122e12,
        memory_bytes_s=1008e9,
        link_bytes_s=32e9,
        network_bits_s=100e9,
    ),
}

CPU = GPU(
    memory_bytes=0,
    peak_flops=0,
    matrix_flops=0,
    attention_flops=0,
    memory_bytes_s=0,
    link_bytes_s=1e9,
    network_bits_s=10e9,
)
"""What `--calibrate` starts from without a GPU: gloo over loopback, 10 Gbit/s; the rest is measured."""

RESERVED_BYTES = 3 * GIB
"""Of each GPU: the CUDA context, NCCL's and cuBLAS's workspaces. An assumption."""
FRAGMENTATION = 0.05
"""Share of the memory that the allocator cannot use. An assumption."""
LINK_EFFICIENCY = 0.8
"""Share of a link's or network's bandwidth that a collective reaches. An assumption."""
HOST_S_PER_BLOCK = 0.5e-3
"""Python and launches for a block, forward and backward: no micro-batch is faster. Twice that under
ZeRO-3. An assumption."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Which share of what a GPU can do a training step reaches."""

    matrix: float
    """Of its fastest product, in those of the model."""
    attention: float
    """Of its fastest attention, the skipped half of the scores not counted."""
    memory: float
    """Of its memory bandwidth, in what is read and written."""


FITTED = Shares(matrix=0.809, attention=0.469, memory=0.831)
"""By least squares on nine A100 rows of one source (benchmarks/plan/run.py); docs/plan.md has its errors."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one GPU does in a second, and its ways to the others."""

    matrix_flops: float
    attention_flops: float
    memory_bytes: float
    link_bytes: float
    """Within the node, of one GPU."""
    network_bytes: float
    """Of the whole node."""
    gpus_per_node: int
    shapes_measured: bool = False
    """The products' rate was measured at the model's shapes: what they read and write is within it."""

    @staticmethod
    def of(gpu: GPU, shares: Shares, gpus_per_node: int, network_bits_s: float | None = None) -> Rates:
        """Multiply what a GPU can do by the shares."""
        return Rates(
            matrix_flops=gpu.matrix_flops * shares.matrix,
            attention_flops=gpu.attention_flops * shares.attention,
            memory_bytes=gpu.memory_bytes_s * shares.memory,
            link_bytes=gpu.link_bytes_s * LINK_EFFICIENCY,
            network_bytes=(network_bits_s or gpu.network_bits_s) / 8 * LINK_EFFICIENCY,
            gpus_per_node=gpus_per_node,
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One device of this node, as `pipeline.plan.calibrate` found it."""

    name: str
    memory_bytes: float
    precision: str
    matrix_flops: float
    """Operations a second in the feed-forward layer's products, forward and backward."""
    attention_flops: float
    """In dense causal attention, forward and backward, its skipped half not counted."""
    memory_bytes_s: float
    """Read and written in a layer norm, a GELU and a residual sum, forward and backward."""


def usable_bytes(memory_bytes: float) -> float:
    """What is left of a GPU's memory for a run."""
    return memory_bytes * (1 - FRAGMENTATION) - RESERVED_BYTES
