"""What a run needs in a layout, and whether it fits: memory and time put together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from pipeline.config import RunConfig
from pipeline.costs.collectives import Collective, collectives
from pipeline.costs.hardware import CPU, FITTED, GIB, GPUS, Measured, Rates, usable_bytes
from pipeline.costs.layers import LayerCost, mfu_flops_per_token, training_flops_per_token
from pipeline.costs.layout import ParallelLayout
from pipeline.costs.memory import Bytes, in_flight, stage_bytes
from pipeline.costs.stages import stages_of
from pipeline.costs.time import StepTime, step_time
from pipeline.errors import UsageError
from pipeline.train.schedule import batch_size


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """GPUs that a plan is made for."""

    name: str
    """Name of the GPU."""
    nodes: int
    gpus_per_node: int
    memory_bytes: float
    """Memory of a GPU."""
    peak_flops: float
    """Peak of a GPU, for MFU."""
    rates: Rates
    precision: str
    """"bf16", or "fp32" on CPUs."""

    @staticmethod
    def of(
        gpu: str | None,
        *,
        nodes: int,
        gpus_per_node: int,
        network_gbit_s: float | None = None,
        measure: Callable[[], Measured] | None = None,
    ) -> Cluster:
        """A cluster of one kind of GPU, with the rates of the data sheet or those that `measure` finds here.

        gpu: a name of GPUS; without one, the device that is measured. network_gbit_s: of a node, where it is
        not the usual one.

        Raises UsageError for an unknown GPU, and when there is neither a GPU nor a measurement.
        """
        if gpu is None and measure is None:
            raise UsageError("--gpu: is missing; name one, or give --calibrate on such a node")
        if gpu is not None and gpu not in GPUS:
            raise UsageError(
                f"--gpu: {gpu!r} is unknown; choose from {', '.join(GPUS)}, or give --calibrate on one"
            )
        kind = GPUS[gpu] if gpu else CPU
        rates = Rates.of(kind, FITTED, gpus_per_node, network_gbit_s and network_gbit_s * 1e9)
        described = Cluster(
            name=gpu or "",
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            memory_bytes=kind.memory_bytes,
            peak_flops=kind.peak_flops,
            rates=rates,
            precision="bf16",
        )
        return described if measure is None else described.measured(measure())

    def measured(self, found: Measured) -> Cluster:
        """This cluster with the rates of a device that was measured; without a name, it is that device."""
        rates = replace(
            self.rates,
            matrix_flops=found.matrix_flops,
            attention_flops=found.attention_flops,
            memory_bytes=found.memory_bytes_s,
            shapes_measured=True,
        )
        here = replace(self, rates=rates, precision=found.precision)
        if here.name:
            return here
        return replace(here, name=found.name, memory_bytes=found.memory_bytes, peak_flops=found.matrix_flops)

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True)
class Stage:
    """One pipeline stage."""

    layers: list[LayerCost]
    bytes: Bytes
    """Bytes of each of its GPUs."""
    collectives: list[Collective]
    """Messages of each of its GPUs."""


@dataclass(frozen=True)
class Prediction:
    """A run in one layout."""

    layout: ParallelLayout
    stages: list[Stage]
    micro_batches: int
    """Micro-batches of a replica in a step at the full batch."""
    step: StepTime
    """Time of a step at the full batch."""
    tokens_s: float
    """Tokens a second of all GPUs, at the full batch."""
    mfu: float
    """Share of the peak by 6N + 12LDT operations a token, without recomputation."""
    mfu_causal: float
    """The same by the operations that training needs: causal attention as half its square, bands by width."""
    bubble: float
    """Share of a step's time."""
    seconds: float
    """Time of the whole run, with the batch ramp."""
    too_large: str | None
    """Why it cannot fit; None when it fits."""

    @property
    def fullest(self) -> float:
        """Bytes of the fullest GPU."""
        return max(stage.bytes.total for stage in self.stages)


def predict(config: RunConfig, layout: ParallelLayout, cluster: Cluster) -> Prediction:
    """Predict a run; whether the layout divides the batch is for `pipeline.plan.search` to know."""
    model, full = config.model, config.batch.global_batch_size
    layers = stages_of(model, layout, "cpu" if cluster.name == "cpu" else "cuda")
    count = layout.micro_batches(full)
    stages = [
        Stage(
            held,
            stage_bytes(
                model,
                layers,
                place,
                layout,
                in_flight=in_flight(place, len(layers), count),
                precision=cluster.precision,
            ),
            collectives(model, layers, place, layout, cluster.precision),
        )
        for place, held in enumerate(layers)
    ]

    def step(sequences: int) -> StepTime:
        return step_time(
            model, layers, layout, sequences=sequences, rates=cluster.rates, precision=cluster.precision
        )

    taken = step(full)
    tokens_s = full * model.n_ctx / taken.total
    per_operation = tokens_s / (cluster.peak_flops * layout.gpus)
    return Prediction(
        layout=layout,
        stages=stages,
        micro_batches=count,
        step=taken,
        tokens_s=tokens_s,
        mfu=per_operation * mfu_flops_per_token(model),
        mfu_causal=per_operation * training_flops_per_token(model),
        bubble=taken.bubble / taken.total,
        seconds=sum(number * step(sequences).total for sequences, number in steps(config).items()),
        too_large=_too_large(stages, cluster),
    )


def steps(config: RunConfig) -> Counter[int]:
    """Count the steps of each size that the loop will take."""
    batch = config.batch
    ramp = batch.ramp_tokens // config.model.n_ctx
    return _steps(
        config.samples,
        full=batch.global_batch_size,
        multiple=batch.batch_size_multiple,
        ramp_start=batch.ramp_start_batch_size or batch.global_batch_size,
        ramp_samples=ramp,
    )


@cache
def _steps(samples: int, *, full: int, multiple: int, ramp_start: int, ramp_samples: int) -> Counter[int]:
    taken: Counter[int] = Counter()
    consumed = 0
    while consumed < min(ramp_samples, samples):
        size = batch_size(
            consumed, full=full, multiple=multiple, ramp_start=ramp_start, ramp_samples=ramp_samples
        )
        size = min(size, samples - consumed)
        taken[size] += 1
        consumed += size
    whole, left = divmod(samples - consumed, full)
    return taken + Counter({full: whole}) + Counter([left] if left else [])


def _too_large(stages: list[Stage], cluster: Cluster) -> str | None:
    usable = usable_bytes(cluster.memory_bytes)
    place, stage = max(enumerate(stages), key=lambda item: item[1].bytes.total)
    if stage.bytes.total <= usable:
        return None
    kinds = vars(stage.bytes)
    largest = max(kinds, key=lambda kind: float(kinds[kind]))
    return (
        f"a GPU of stage {place} needs {stage.bytes.total / GIB:.1f} GiB, {kinds[largest] / GIB:.1f} of them "
        f"for {largest}; {cluster.name} has {usable / GIB:.1f} for it"
    )
