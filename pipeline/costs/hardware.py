"""GPUs and networks as data, and how much of their peaks a training step gets."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class GPU:
    """One kind of GPU, by its data sheet."""

    memory_bytes: float
    peak_flops: float
    """Dense bf16 operations a second."""
    matrix_flops: float
    """Operations a second of the fastest product of any shape: power and clocks set it, not only the chip."""
    attention_flops: float
    """Best of FlashAttention-2, which torch's attention is: it uses no Hopper instructions."""
    memory_bytes_s: float
    link_bytes_s: float
    """Bandwidth to another GPU of the node, in one direction."""
    network_bits_s: float
    """Bandwidth of its usual node's network, all adapters together; `--network` gives another."""


def _gpu(*, mib: int, peak: int, matrix: int, attention: int, memory: int, link: int, network: int) -> GPU:
    """A row of the table: MiB, TFLOP/s of the three kinds, GB/s of memory and link, Gbit/s of the network."""
    return GPU(
        memory_bytes=mib * 2**20,
        peak_flops=peak * 1e12,
        matrix_flops=matrix * 1e12,
        attention_flops=attention * 1e12,
        memory_bytes_s=memory * 1e9,
        link_bytes_s=link * 1e9,
        network_bits_s=network * 1e9,
    )


# Peaks, memory and bandwidths: NVIDIA's data sheets; memory is what nvidia-smi shows. Usual nodes: DGX A100
# and DGX H100 have eight adapters of 200 and 400 Gbit/s, workstations and inference servers one of 100.
# Fastest products in bf16: measured by S. Bekman (ml-engineering, "Maximum Achievable Matmul FLOPS"); of
# those he does not list, 80 % of the peak, as of an H100. Attention: Dao 2023 measured 230 TFLOP/s on an A100
# and up to 335 on an H100; others are assumed to reach the same share of their peak, Ampere and Ada as the
# A100, Blackwell as Hopper.
GPUS: dict[str, GPU] = {
    "a100-40": _gpu(mib=40_960, peak=312, matrix=271, attention=230, memory=1555, link=300, network=1600),
    "a100-80": _gpu(mib=81_920, peak=312, matrix=271, attention=230, memory=2039, link=300, network=1600),
    "h100-80": _gpu(mib=81_559, peak=989, matrix=794, attention=335, memory=3350, link=450, network=3200),
    "h200-141": _gpu(mib=143_771, peak=989, matrix=794, attention=335, memory=4800, link=450, network=3200),
    "b200-180": _gpu(mib=183_359, peak=2250, matrix=1745, attention=760, memory=8000, link=900, network=3200),
    "l40s-48": _gpu(mib=46_068, peak=362, matrix=290, attention=267, memory=864, link=32, network=100),
    "a6000-48": _gpu(mib=49_140, peak=155, matrix=124, attention=114, memory=768, link=32, network=100),
    "rtx4090-24": _gpu(mib=24_564, peak=165, matrix=132, attention=122, memory=1008, link=32, network=100),
}

CPU = _gpu(mib=0, peak=0, matrix=0, attention=0, memory=0, link=1, network=10)
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
    """Shares of a GPU's best rates that a training step reaches."""

    matrix: float
    """Share of its fastest product, in the products of the model."""
    attention: float
    """Share of its fastest attention, the skipped half of the scores not counted."""
    memory: float
    """Share of its memory bandwidth."""


FITTED = Shares(matrix=0.809, attention=0.469, memory=0.831)
"""By least squares on nine A100 rows of one source (benchmarks/plan/run.py); docs/plan.md has its errors."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Work that one GPU does in a second, and bandwidths to the others."""

    matrix_flops: float
    attention_flops: float
    memory_bytes: float
    link_bytes: float
    """Within the node, of one GPU."""
    network_bytes: float
    """Bandwidth of the whole node."""
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
    """Return the memory of a GPU that is left for a run."""
    return memory_bytes * (1 - FRAGMENTATION) - RESERVED_BYTES
