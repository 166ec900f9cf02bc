"""A plan as text for people and as JSON for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pipeline.config import RunConfig
from pipeline.costs.hardware import GIB, usable_bytes
from pipeline.costs.layers import parameters
from pipeline.costs.layout import ParallelLayout
from pipeline.plan.failures import Failures, checkpoint_bytes, intervals
from pipeline.plan.predict import Cluster, Prediction, steps
from pipeline.plan.search import EQUAL_WITHIN

SHOWN = 5
UNVALIDATED = (
    "Bytes of weights, gradients and optimizer are exact, those of activations counted from the model's "
    "code.\nTimes are predicted. Published runs on 32 to 1,024 GPUs took 5 to 36 % longer than such a plan, "
    "19 % in the\nmedian; none was Outbound's: docs/plan.md."
)


def as_json(
    config: RunConfig,
    cluster: Cluster,
    configured: Prediction | str,
    ranked: list[Prediction],
    failures: Failures | None = None,
) -> dict[str, Any]:
    """What `outbound plan --json` prints."""
    reduce_dtype = config.parallel.reduce_dtype
    lossy = _lossy(configured, ranked) if failures else None
    return {
        "parameters": parameters(config.model),
        "tokens": config.samples * config.model.n_ctx,
        "steps": steps(config).total(),
        "gpu": cluster.name,
        "gpus": cluster.gpus,
        "precision": cluster.precision,
        "usable_bytes": usable_bytes(cluster.memory_bytes),
        "rates": asdict(cluster.rates),
        "configured": {"refused": configured}
        if isinstance(configured, str)
        else _prediction(configured, reduce_dtype),
        "layouts": [_prediction(prediction, reduce_dtype) for prediction in ranked[:SHOWN]],
        "failures": failures
        and lossy
        and asdict(failures)
        | {"best_interval_s": failures.best_interval_s, "overrides": overrides(lossy.layout, reduce_dtype)}
        | {"intervals": [asdict(each) for each in intervals(config, lossy, failures)]},
    }


def as_text(
    config: RunConfig,
    cluster: Cluster,
    configured: Prediction | str,
    ranked: list[Prediction],
    failures: Failures | None = None,
) -> str:
    """What `outbound plan` prints."""
    model = config.model
    lines = [
        f"{parameters(model):,} parameters, {config.samples * model.n_ctx:,} tokens in "
        f"{steps(config).total():,} steps, {cluster.precision}, on {cluster.nodes} x {cluster.gpus_per_node} "
        f"{cluster.name} with {usable_bytes(cluster.memory_bytes) / GIB:.1f} GiB for it on each",
        "",
        *_configured(configured),
        "",
    ]
    if ranked:
        lines += [
            f"the fastest layouts that fit; of those within {EQUAL_WITHIN:.0%}, the simplest first",
            "    days   MFU  bubble    GiB  overrides",
        ]
        lines += [
            f"{found.seconds / 86400:8.1f} {found.mfu:5.1%} {found.bubble:7.1%} {found.fullest / GIB:6.1f}  "
            f"{overrides(found.layout, config.parallel.reduce_dtype)}"
            for found in ranked[:SHOWN]
        ]
        lines.append("")
    if failures and (lossy := _lossy(configured, ranked)):
        lines += [*_failures(config, lossy, failures), ""]
    return "\n".join([*lines, UNVALIDATED])


def _lossy(configured: Prediction | str, ranked: list[Prediction]) -> Prediction | None:
    """The layout of which the cost of failures is shown: that of the configuration, if it fits."""
    if isinstance(configured, Prediction) and not configured.too_large:
        return configured
    return ranked[0] if ranked else None


def _failures(config: RunConfig, found: Prediction, failures: Failures) -> list[str]:
    """What lost nodes cost in a layout."""
    shown = intervals(config, found, failures)
    best = min(shown, key=lambda each: each.lost).checkpoint_every_steps
    notes = {config.train.checkpoint_every_steps: "  as configured", best: "  best"}
    rows = [
        f"{each.interval_s / 60:8.1f} min {each.lost:6.1%} {each.in_vain:8.1%} {each.seconds / 86400:9,.1f}  "
        f"train.checkpoint_every_steps={each.checkpoint_every_steps}"
        f"{notes.get(each.checkpoint_every_steps, '')}"
        for each in shown
    ]
    return [
        f"a lost node every {failures.apart_s / 3600:.3g} h, {failures.restart_s:.0f} s until the next step, "
        f"and {failures.save_s:.0f} s for a checkpoint of {checkpoint_bytes(config) / 1e9:,.0f} GB",
        f"with {overrides(found.layout, config.parallel.reduce_dtype)}",
        "       every   lost  in vain      days",
        *rows,
    ]


def overrides(layout: ParallelLayout, reduce_dtype: str = "fp32") -> str:
    """A layout as overrides for `outbound train` of a configuration with this `parallel.reduce_dtype`.

    >>> overrides(ParallelLayout(pipeline=2, data=8, zero=1, micro=4))
    'parallel.pipeline_stages=2 parallel.zero_stage=1 batch.micro_batch_size=4'
    >>> overrides(ParallelLayout(pipeline=1, data=8, zero=1, micro=4), "bf16")
    'parallel.pipeline_stages=1 parallel.zero_stage=1 parallel.reduce_dtype=fp32 batch.micro_batch_size=4'
    """
    settings = {
        "parallel.pipeline_stages": layout.pipeline,
        "parallel.zero_stage": layout.zero,
        **({"parallel.reduce_dtype": layout.reduce_dtype} if layout.reduce_dtype != reduce_dtype else {}),
        "batch.micro_batch_size": layout.micro,
        **({"parallel.activation_checkpointing": "true"} if layout.checkpointing else {}),
    }
    return " ".join(f"{key}={value}" for key, value in settings.items())


def _configured(found: Prediction | str) -> list[str]:
    if isinstance(found, str):
        return [f"as configured: refused: {found}"]
    kinds = list(vars(found.stages[0].bytes))
    lines = [
        f"as configured: {overrides(found.layout)}, {found.layout.data} replicas",
        "GiB of each GPU " + "".join(f"{kind:>12}" for kind in [*kinds, "all"]),
    ]
    for place, stage in enumerate(found.stages):
        sizes = [*vars(stage.bytes).values(), stage.bytes.total]
        names = f"{stage.layers[0].name}..{stage.layers[-1].name}"
        lines.append(f"{place:>4} {names:<11}" + "".join(f"{size / GIB:12.2f}" for size in sizes))
    if found.too_large:
        return [*lines, f"refused: {found.too_large}"]
    step = found.step
    return [
        *lines,
        *_exchanged(found),
        f"step {step.total:.3f} s: computing {step.compute:.3f}, bubble {step.bubble:.3f}, communication "
        f"{step.communication:.3f}, optimizer {step.optimizer:.3f}",
        f"{found.tokens_s:,.0f} tokens/s, MFU {found.mfu:.1%} (causal {found.mfu_causal:.1%}), "
        f"{found.seconds / 86400:.1f} days, {found.seconds / 3600 * found.layout.gpus:,.0f} GPU-hours",
    ]


def _exchanged(found: Prediction) -> list[str]:
    """What the stage that exchanges the most bytes exchanges in a step; nothing on a single GPU."""
    of_stages = [
        [(message.in_step(found.micro_batches), message) for message in stage.collectives]
        for stage in found.stages
    ]
    place, most = max(enumerate(of_stages), key=lambda stage: sum(size for size, _ in stage[1]))
    shown = [
        f"{message.operation} of {message.content} {size / GIB:.2f} in {message.dtype}"
        for size, message in most
    ]
    return [f"a GPU of stage {place} exchanges, GiB a step: {', '.join(shown)}"] if shown else []


def _prediction(found: Prediction, reduce_dtype: str) -> dict[str, Any]:
    return {
        "overrides": overrides(found.layout, reduce_dtype),
        "layout": asdict(found.layout),
        "refused": found.too_large,
        "stages": [
            {
                "layers": [layer.name for layer in stage.layers],
                "bytes": asdict(stage.bytes),
                "collectives": [
                    asdict(message) | {"bytes_per_step": message.in_step(found.micro_batches)}
                    for message in stage.collectives
                ],
            }
            for stage in found.stages
        ],
        "step_s": asdict(found.step) | {"total": found.step.total},
        "bubble": found.bubble,
        "tokens_per_s": found.tokens_s,
        "mfu": found.mfu,
        "mfu_causal": found.mfu_causal,
        "days": found.seconds / 86400,
        "gpu_hours": found.seconds / 3600 * found.layout.gpus,
    }
