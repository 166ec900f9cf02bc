"""Every refusal before anything starts: what cannot work, what DeepSpeed would compute wrongly, and why."""

from __future__ import annotations

from pipeline.config.sections import RunConfig
from pipeline.costs.layers import layer_costs, partition, whole_blocks
from pipeline.data.sources import Sources
from pipeline.errors import UsageError

BF16_WITHOUT_ZERO = (
    "without ZeRO, DeepSpeed accumulates bf16 gradients in bf16, where those of many micro-batches vanish: "
    "use zero=1, which on one data-parallel rank costs nothing"
)


def impossible(config: RunConfig) -> list[str]:
    """What cannot work whatever the data, each with its reason."""
    batch = config.batch
    found = _wrong_in_deepspeed(config)
    for name, value in (
        ("batch.sequences", batch.sequences),
        ("batch.ramp_start", batch.ramp_start or batch.quantum),
        ("train.eval_sequences", config.train.eval_sequences),
    ):
        if value % batch.quantum:
            found.append(f"{name}: {value} is not a multiple of batch.quantum {batch.quantum}")
    if batch.quantum % batch.micro:
        found.append(f"batch.micro: {batch.micro} does not divide batch.quantum {batch.quantum}")
    if (batch.ramp_start or 0) > batch.sequences:
        found.append(f"batch.ramp_start: {batch.ramp_start} is above batch.sequences {batch.sequences}")
    if (decay := config.schedule.decay_tokens or config.train.tokens) <= config.schedule.warmup_tokens:
        found.append(
            f"schedule.warmup_tokens: {config.schedule.warmup_tokens} leaves no room for the decay, "
            f"which ends at {decay}"
        )
    if config.data.stream and config.guards.spike_z:
        found.append("guards.spike_z: a stream cannot go back, nor leave out what it has read: leave it out")
    if not config.samples:
        found.append(
            f"train.tokens: {config.train.tokens} is less than one quantum of {batch.quantum} sequences "
            f"of {config.model.n_ctx}"
        )
    costs, parts, cut = layer_costs(config.model), config.parallel.parts, config.parallel.cut
    try:
        partition(costs, parts)
    except ValueError as error:
        found.append(f"parallel.pipeline: {error}")
    try:
        whole_blocks(costs, cut or [config.model.n_layer])
    except ValueError as error:
        found.append(f"parallel.cut: {error}")
    if cut is not None and len(cut) != parts:
        found.append(f"parallel.cut: {cut} has {len(cut)} entries, and the layout {parts} parts")
    return found


def _wrong_in_deepspeed(config: RunConfig) -> list[str]:
    """Layouts that DeepSpeed refuses late, or computes wrongly without a word."""
    found = []
    stages, zero, schedule = config.parallel.pipeline, config.parallel.zero, config.parallel.schedule
    if zero >= 2 and stages > 1:
        found.append(
            f"parallel.zero: ZeRO-{zero} cannot be combined with {stages} pipeline stages: a stage reduces "
            "its gradients once, after all micro-batches, and ZeRO-2 would free them in each: use zero=1"
        )
    if zero == 0 and stages > 1:
        found.append(
            "parallel.zero: without ZeRO, DeepSpeed clips a pipeline by its first stage's gradients only: "
            "use zero=1"
        )
    elif zero == 0 and config.train.precision == "bf16":
        found.append(f"parallel.zero: {BF16_WITHOUT_ZERO}")
    if zero == 3 and config.train.compile:
        found.append(
            "train.compile: ZeRO-3 fetches each layer's weights in hooks, at which a compiled block falls "
            "apart until torch gives up: use zero=2, or leave train.compile out"
        )
    if schedule == "dualpipev" and stages == 1:
        found.append("parallel.schedule: dualpipev folds a pipeline's stages, and there is one: use 1f1b")
    return found


def too_short(config: RunConfig, sources: Sources) -> list[str]:
    """Where the data do not suffice for the model or the evaluation."""
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


def other_start(config: RunConfig, sources: Sources) -> list[str]:
    """Where `run.init_from` does not fit a run that has not begun."""
    if config.run.init_from is None or (config.run.dir / "config.yaml").exists():
        return []
    from pipeline.checkpoint.weights import misfits

    return misfits(config.run.init_from, config.model, sources)


def check_layout(config: RunConfig, processes: int) -> None:
    """Raise UsageError when the run cannot be spread over so many processes."""
    stages, batch = config.parallel.pipeline, config.batch
    if processes % stages:
        raise UsageError(
            f"parallel.pipeline: {stages} stages do not divide {processes} processes: "
            f"start a multiple of {stages}, or change the stages"
        )
    data = processes // stages
    if batch.quantum % (batch.micro * data):
        raise UsageError(
            f"batch.quantum: {batch.quantum} is not a multiple of micro-batch {batch.micro} x {data} "
            f"data-parallel ranks: a step would not divide evenly; use another batch.micro or process count"
        )
    fewest = batch.quantum // (batch.micro * data)
    if config.parallel.schedule == "dualpipev" and fewest < config.parallel.parts:
        raise UsageError(
            f"parallel.schedule: dualpipev over {stages} ranks needs {config.parallel.parts} micro-batches a "
            f"step, and batch.quantum {batch.quantum} may leave {fewest}: use a larger quantum, or 1f1b"
        )
