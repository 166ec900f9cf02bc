"""Checks before anything starts: what cannot work, what DeepSpeed would compute wrongly, and why.

The check functions return mistakes, each as "section.key: reason", so that a user sees all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.checkpoint import attempts
from pipeline.checkpoint.fitting import check_weights
from pipeline.config.sections import RunConfig
from pipeline.costs.layers import layer_costs, partition, whole_blocks
from pipeline.data.sources import Sources
from pipeline.errors import UsageError

BF16_WITHOUT_ZERO = (
    "without ZeRO, DeepSpeed accumulates bf16 gradients in bf16, where those of many micro-batches vanish: "
    "use zero_stage=1, which on one data-parallel rank costs nothing"
)


def _check_batch(config: RunConfig) -> list[str]:
    batch, multiple = config.batch, config.batch.batch_size_multiple
    found = [
        f"{name}: {value} is not a multiple of batch.batch_size_multiple {multiple}"
        for name, value in (
            ("batch.global_batch_size", batch.global_batch_size),
            ("batch.ramp_start_batch_size", batch.ramp_start_batch_size or multiple),
            ("train.eval_sequences", config.train.eval_sequences),
        )
        if value % multiple
    ]
    if multiple % batch.micro_batch_size:
        found.append(
            f"batch.micro_batch_size: {batch.micro_batch_size} does not divide batch.batch_size_multiple "
            f"{multiple}"
        )
    if (batch.ramp_start_batch_size or 0) > batch.global_batch_size:
        found.append(
            f"batch.ramp_start_batch_size: {batch.ramp_start_batch_size} is above batch.global_batch_size "
            f"{batch.global_batch_size}"
        )
    return found


def _check_train(config: RunConfig) -> list[str]:
    found = []
    if (decay := config.schedule.decay_tokens or config.train.tokens) <= config.schedule.warmup_tokens:
        found.append(
            f"schedule.warmup_tokens: {config.schedule.warmup_tokens} leaves no room for the decay, "
            f"which ends at {decay}"
        )
    if config.data.stream and config.guards.spike_zscore:
        found.append(
            "guards.spike_zscore: a stream cannot go back, nor leave out what it has read: leave it out"
        )
    if not config.samples:
        found.append(
            f"train.tokens: {config.train.tokens} is less than batch.batch_size_multiple, "
            f"{config.batch.batch_size_multiple} sequences of {config.model.n_ctx}"
        )
    return found


def _check_stages(config: RunConfig) -> list[str]:
    found = []
    costs, parts = layer_costs(config.model), config.parallel.parts
    blocks = config.parallel.blocks_per_stage
    try:
        partition(costs, parts)
    except ValueError as error:
        found.append(f"parallel.pipeline_stages: {error}")
    try:
        whole_blocks(costs, blocks or [config.model.n_layer])
    except ValueError as error:
        found.append(f"parallel.blocks_per_stage: {error}")
    if blocks is not None and len(blocks) != parts:
        found.append(
            f"parallel.blocks_per_stage: {blocks} has {len(blocks)} entries, and the layout {parts} parts"
        )
    return found


def _check_deepspeed(config: RunConfig) -> list[str]:
    """Layouts that DeepSpeed refuses late, or computes wrongly without a word."""
    found = []
    parallel = config.parallel
    stages, zero = parallel.pipeline_stages, parallel.zero_stage
    if zero >= 2 and stages > 1:
        found.append(
            f"parallel.zero_stage: ZeRO-{zero} cannot be combined with {stages} pipeline stages: a stage "
            "reduces its gradients once, after all micro-batches, and ZeRO-2 would free them in each: "
            "use zero_stage=1"
        )
    if zero == 0 and stages > 1:
        found.append(
            "parallel.zero_stage: without ZeRO, DeepSpeed clips a pipeline by its first stage's gradients "
            "only: use zero_stage=1"
        )
    elif zero == 0 and config.train.precision == "bf16":
        found.append(f"parallel.zero_stage: {BF16_WITHOUT_ZERO}")
    if zero < 2 and parallel.reduce_dtype == "bf16":
        found.append(
            f"parallel.reduce_dtype: ZeRO-{zero} averages gradients once a step, and bf16 would round the "
            "sum of all micro-batches: leave reduce_dtype out, or use zero_stage=2 or 3"
        )
    if zero == 3 and config.train.compile:
        found.append(
            "train.compile: ZeRO-3 fetches each layer's weights in hooks, at which a compiled block falls "
            "apart until torch gives up: use zero_stage=2, or leave train.compile out"
        )
    if parallel.pipeline_schedule == "dualpipev" and stages == 1:
        found.append(
            "parallel.pipeline_schedule: dualpipev folds a pipeline's stages, and there is one: use 1f1b"
        )
    return found


CHECKS: tuple[tuple[str, Callable[[RunConfig], list[str]]], ...] = (
    ("batch train", _check_batch),
    ("schedule train data guards batch model", _check_train),
    ("model parallel", _check_stages),
    ("parallel train", _check_deepspeed),
)
"""Checks of what does not depend on the data, each after the names of the sections that it reads."""


def check_data(config: RunConfig, sources: Sources) -> list[str]:
    """Check that the data suffice for the model and the evaluation."""
    found = []
    evaluated = sources.mixture.counts(config.train.eval_sequences)
    for (name, source), sequences in zip(sources.by_name.items(), evaluated, strict=True):
        needs = (("train", 1, "model.n_ctx"), ("val", sequences, "train.eval_sequences"))
        for split, needed, path in needs:
            splits = source.generation.splits
            held = splits[split].sequences(config.model.n_ctx) if split in splits else 0
            if held < needed:
                found.append(
                    f"{path}: {needed} sequences of {config.model.n_ctx} are needed, {split!r} "
                    f"{f'of {name} ' if name else ''}holds {held}: "
                    "use fewer, a shorter n_ctx, or pack more text"
                )
    if config.model.vocab_size < sources.vocab_size:
        found.append(
            f"model.vocab_size: {config.model.vocab_size} is below the tokenizer's {sources.vocab_size}"
        )
    return found


def check_init_from(config: RunConfig, sources: Sources) -> list[str]:
    """Check that `run.init_from` fits a run that has not begun."""
    if config.run.init_from is None or attempts.latest(config.run.dir):
        return []
    return check_weights(config.run.init_from, config.model, sources)


def require_layout(config: RunConfig, processes: int) -> None:
    """Raise UsageError when the run cannot be spread over so many processes."""
    for mistake in check_layout(config, processes):
        raise UsageError(mistake)


def check_layout(config: RunConfig, processes: int) -> list[str]:
    """Check that the run can be spread over so many processes."""
    stages, batch = config.parallel.pipeline_stages, config.batch
    if processes % stages:
        return [
            f"parallel.pipeline_stages: {stages} stages do not divide {processes} processes: "
            f"start a multiple of {stages}, or change the stages"
        ]
    data, multiple = processes // stages, batch.batch_size_multiple
    if multiple % (batch.micro_batch_size * data):
        return [
            f"batch.batch_size_multiple: {multiple} is not a multiple of micro-batch "
            f"{batch.micro_batch_size} x {data} data-parallel ranks: a step would not divide evenly; "
            "use another batch.micro_batch_size or process count"
        ]
    fewest = multiple // (batch.micro_batch_size * data)
    if config.parallel.pipeline_schedule == "dualpipev" and fewest < config.parallel.parts:
        return [
            f"parallel.pipeline_schedule: dualpipev over {stages} ranks needs {config.parallel.parts} "
            f"micro-batches a step, and batch.batch_size_multiple {multiple} may leave {fewest}: "
            "use a larger one, or 1f1b"
        ]
    return []
