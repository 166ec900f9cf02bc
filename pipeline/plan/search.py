"""The layouts that a run can have on a cluster, and the fastest of them."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config import BF16_WITHOUT_ZERO, RunConfig, require_layout
from pipeline.costs.layout import ParallelLayout
from pipeline.errors import UsageError
from pipeline.plan.predict import Cluster, Prediction, predict

EQUAL_WITHIN = 0.03
"""Relative difference below which two predictions count as equally fast."""


def configured(config: RunConfig, cluster: Cluster) -> Prediction | str:
    """Predict the layout that the configuration says; a string says why it cannot be spread or planned so."""
    parallel = config.parallel
    if parallel.pipeline_schedule != "1f1b":
        schedule = parallel.pipeline_schedule
        return f"parallel.pipeline_schedule: {schedule} has other memory and bubbles: only 1f1b is planned"
    if parallel.zero_stage == 0 and cluster.precision == "bf16":
        return f"parallel.zero_stage: {BF16_WITHOUT_ZERO}"
    try:
        require_layout(config, cluster.gpus)
    except UsageError as error:
        return str(error)
    return predict(
        config,
        ParallelLayout(
            pipeline=parallel.pipeline_stages,
            data=cluster.gpus // parallel.pipeline_stages,
            zero=parallel.zero_stage,
            micro=config.batch.micro_batch_size,
            checkpointing=parallel.activation_checkpointing,
            blocks_per_stage=tuple(parallel.blocks_per_stage) if parallel.blocks_per_stage else None,
        ),
        cluster,
    )


def ranked(config: RunConfig, cluster: Cluster) -> tuple[list[Prediction], Prediction | None]:
    """The layouts that fit, the fastest first, and of those that do not the one that lacks the least.

    Of layouts that are equally fast within EQUAL_WITHIN, the one with less sharing, then the one
    that computes nothing twice, then the smaller comes first.
    """
    fitting, nearest = [], None
    for layout in layouts(config, cluster.gpus):
        found = predict(config, layout, cluster)
        if found.too_large is None:
            fitting.append(found)
        elif nearest is None or found.fullest < nearest.fullest:
            nearest = found
    fastest = min((found.seconds for found in fitting), default=1.0)

    def order(found: Prediction) -> tuple[int, int, bool, float]:
        behind = int((found.seconds / fastest - 1) / EQUAL_WITHIN)
        return behind, found.layout.zero, found.layout.checkpointing, found.fullest

    return sorted(fitting, key=order), nearest


def why_none_fits(config: RunConfig, cluster: Cluster, nearest: Prediction | None) -> str:
    """Why no layout of a search fits.

    nearest: the one that lacks the least memory, None when there is no layout at all.
    """
    if nearest is not None:
        return f"no layout fits; the nearest one: {nearest.too_large}"
    return (
        f"no layout fits; {cluster.gpus} GPUs do not divide into stages and replicas of "
        f"batch.batch_size_multiple {config.batch.batch_size_multiple}: raise it, with "
        "batch.ramp_start_batch_size"
    )


def layouts(config: RunConfig, gpus: int) -> Iterator[ParallelLayout]:
    """Every way that the engine allows, the batch divides, and the model has layers for.

    ZeRO-0 is no way: it is only slower than ZeRO-1, and DeepSpeed has none with fp32 accumulation in bf16.
    """
    for pipeline in _divisors(gpus):
        if pipeline > _most_stages(config):
            continue
        data = gpus // pipeline
        if config.batch.batch_size_multiple % data:
            continue
        for zero in (1, 2, 3) if pipeline == 1 and data > 1 else (1,):
            for micro in _divisors(config.batch.batch_size_multiple // data):
                for checkpointing in (False, True):
                    yield ParallelLayout(
                        pipeline=pipeline, data=data, zero=zero, micro=micro, checkpointing=checkpointing
                    )


def _most_stages(config: RunConfig) -> int:
    """A stage needs a block, or the last norm with the head."""
    return config.model.n_layer + (config.model.norm == "pre")


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
