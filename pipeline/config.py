"""The configuration of a training run: YAML, overrides, and every refusal before anything starts."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dataprep import store
from model import PRESETS, GPTConfig
from pipeline.errors import UsageError
from pipeline.partition import layer_costs, partition, whole_blocks
from pipeline.sources import Sources

BF16_WITHOUT_ZERO = (
    "without ZeRO, DeepSpeed accumulates bf16 gradients in bf16, where those of many micro-batches vanish: "
    "use zero=1, which on one data-parallel rank costs nothing"
)


class Section(BaseModel):
    """A part of the configuration; a field it does not know is an error, not a silent nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Run(Section):
    """Where the run lives."""

    dir: Path
    """Everything the run writes is under here; the same directory again resumes it."""
    seed: int = 0
    """Of initial weights, data order and dropout."""
    init_from: Path | None = None
    """Begin with the weights of another run, or of a directory in Hugging Face's format."""


class MixtureSource(Section):
    """One of several sources."""

    tokens: Path
    """A directory made by `outbound pack`."""
    weight: float = Field(gt=0)
    """Its share is this over the sum of all, in 4096ths."""
    generation: int | None = None
    """As `data.generation`."""


class Data(Section):
    """What it reads."""

    tokens: Path | None = None
    """A directory made by `outbound pack`; or `mixture` says several."""
    generation: int | None = None
    """Which generation-N.json; the newest at the first start when absent, and the same ever after."""
    mixture: dict[Annotated[str, Field(pattern=r"^[\w-]+$")], MixtureSource] | None = None
    """Sources by name, each with its share of the samples."""
    stream: str | None = None
    """Where the training shards of `tokens` are streamed from instead of mapped: URLs, `pipe:` commands or
    paths with {shard}, {00000..00010} or `*`. Manifest, tokenizer and held-out shards stay in `tokens`."""
    order_block: int = Field(default=64, ge=1)
    """Neighbouring sequences that are read near each other; larger suits parallel filesystems."""
    verify: bool = False
    """Hash every shard at start; sizes are always compared."""

    @model_validator(mode="after")
    def _one_or_several(self) -> Data:
        if (self.tokens is None) == (not self.mixture):
            raise ValueError("give either tokens or mixture")
        if self.mixture and self.generation:
            raise ValueError("in a mixture each source has its own generation")
        if self.stream and self.mixture:
            raise ValueError(
                "a stream has no random access, without which no mixture: use tokens, not mixture"
            )
        if self.stream and self.verify:
            raise ValueError("a stream is not there to be hashed before it is read: leave out verify")
        return self

    def sources(self) -> dict[str, tuple[Path, int | None, float]]:
        """Name -> directory, generation and weight; without a mixture, of one source without a name."""
        if self.tokens:
            return {"": (self.tokens, self.generation, 1.0)}
        several = self.mixture or {}
        return {name: (each.tokens, each.generation, each.weight) for name, each in several.items()}


class Optimizer(Section):
    """AdamW with two groups: matrices decay, gains and biases do not."""

    lr: float = Field(gt=0)
    """The schedule's peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of the whole gradient; 0 never clips."""


class Schedule(Section):
    """The learning rate, in tokens."""

    warmup_tokens: int = Field(default=0, ge=0)
    decay_tokens: int | None = Field(default=None, gt=0)
    """Where the cosine reaches its floor; the end of training when absent."""
    floor: float = Field(default=0.1, ge=0, le=1)
    """As a share of the peak."""


class Batch(Section):
    """How many sequences a step takes."""

    sequences: int = Field(ge=1)
    """Of one step, over all ranks."""
    micro: int = Field(default=1, ge=1)
    """Of one forward pass of one rank."""
    quantum: int = Field(ge=1)
    """Batches are multiples of this; every layout whose micro * DP divides it sees the same batches."""
    ramp_start: int | None = Field(default=None, ge=1)
    """Sequences of the first step; `sequences` when absent."""
    ramp_tokens: int = Field(default=0, ge=0)
    """Until the batch has grown linearly to `sequences`."""


class Parallel(Section):
    """How the model is spread; data parallelism is what remains of the processes."""

    pipeline: int = Field(default=1, ge=1)
    """Stages."""
    zero: int = Field(default=1, ge=0, le=3)
    """What data-parallel ranks share out: 0 nothing, 1 optimizer states, 2 and gradients, 3 and weights."""
    schedule: Literal["1f1b", "dualpipev"] = "1f1b"
    """How micro-batches pass the stages; `dualpipev` (experimental) folds twice as many over the ranks, so
    that the last rank turns round at once and the bubble is smaller."""
    cut: list[Annotated[int, Field(ge=0)]] | None = None
    """How many blocks each part holds, the first beside the embeddings, the last beside the head. Absent: the
    cut whose slowest part should be the fastest."""
    activation_checkpointing: bool = False
    """Keep only what enters each block, and compute its inside again for the backward pass: about a third
    more arithmetic for a fraction of the activations' memory, and the same gradients."""

    @property
    def parts(self) -> int:
        """Into how many parts the layers are cut: one a stage, under dualpipev two."""
        return self.pipeline * (2 if self.schedule == "dualpipev" else 1)


class Train(Section):
    """How long, and what happens on the way."""

    tokens: int = Field(ge=1)
    """The length of the run; rounded down to whole batch quanta."""
    eval_every: int = Field(default=250, ge=1)
    """Steps."""
    eval_sequences: int = Field(ge=1)
    """Held-out sequences of every evaluation."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Steps."""
    keep: int = Field(default=3, ge=1)
    """Newest checkpoints that stay."""
    keep_every: int | None = Field(default=None, ge=1)
    """Checkpoints of multiples of so many steps stay, too."""
    prompts: list[str] = []
    """Texts that each checkpoint continues, in a process of its own on a CPU, into samples.jsonl."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What is computed in; auto: bf16 on GPUs, fp32 on CPUs. Masters and accumulation are always fp32."""
    flex_attention: bool = False
    """Banded layers by FlexAttention; dropped with a warning where it does not compute the same."""


class Guards(Section):
    """What happens to a run that goes wrong."""

    non_finite: int = Field(default=3, ge=1)
    """So many steps in a row whose gradient is not finite end the run; each of them is skipped."""
    spike_z: float | None = Field(default=None, gt=0)
    """A loss so many standard deviations above the mean of the last `spike_window` is a spike: the checkpoint
    before it is loaded, and the samples since then are skipped for good. Absent: no loss is."""
    spike_window: int = Field(default=100, ge=2)
    """Steps."""
    spikes: int = Field(default=5, ge=0)
    """How many are skipped; one more ends the run."""
    rehearse: bool = True
    """Compute one batch of the full size at learning rate 0 before the first step, so that what would run out
    of memory at the end of the batch ramp does so at once."""
    stall_s: float = Field(default=1800, ge=0)
    """A process that makes no progress for so many seconds writes its threads' stacks and ends; 0: never."""


class Wandb(Section):
    """Weights & Biases; the same numbers are always in metrics.jsonl."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "outbound"


class RunConfig(Section):
    """A whole run."""

    run: Run
    data: Data
    model: GPTConfig
    """GPTConfig's fields; `preset` names what stands for those that are absent, the tokenizer its ids."""
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    batch: Batch
    parallel: Parallel = Parallel()
    train: Train
    guards: Guards = Guards()
    wandb: Wandb = Wandb()

    @property
    def samples(self) -> int:
        """Sequences of the whole run: `train.tokens` rounded down to whole quanta."""
        return self.train.tokens // self.model.n_ctx // self.batch.quantum * self.batch.quantum


def load_config(path: Path, overrides: list[str]) -> tuple[RunConfig, Sources]:
    """Read a YAML file, apply `a.b=c` overrides, and resolve what depends on the data.

    Raises UsageError that lists every mistake with its path, RunError when the tokens cannot be read.
    """
    raw = _overridden(path, overrides)
    sources = _pin(raw)
    _complete_model(raw, sources)
    config = _validated(raw, path)
    assert sources is not None  # only a broken data section, reported above, has none
    if found := [*_impossible(config), *_too_short(config, sources), *_other_start(config, sources)]:
        raise _refusal(path, found)
    return config, sources


def load_ahead(path: Path, overrides: list[str]) -> RunConfig:
    """Read a configuration whose tokens need not be packed yet, for planning.

    Without them the vocabulary is the preset's, or what `model.vocab_size` says.

    Raises UsageError that lists every mistake with its path, RunError when tokens that are there are damaged.
    """
    raw = _overridden(path, overrides)
    _complete_model(raw, _pin(raw) if _packed(raw) else None)
    if isinstance(raw.get("model"), dict) and "vocab_size" not in raw["model"]:
        raise UsageError(
            f"{path}: model.vocab_size: the tokens, which would say it, are not packed yet: "
            "give it, as in model.vocab_size=50257"
        )
    config = _validated(raw, path)
    if found := _impossible(config):
        raise _refusal(path, found)
    return config


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


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration; `load_config` reads the same back."""
    store.replace(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


class _Loader(yaml.SafeLoader):
    """YAML that reads 1e-4 as a number; PyYAML follows YAML 1.1, which wants 1.0e-4."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _overridden(path: Path, overrides: list[str]) -> dict[str, Any]:
    raw = _read(path)
    for override in overrides:
        _apply(raw, override)
    return raw


def _validated(raw: dict[str, Any], path: Path) -> RunConfig:
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise _refusal(path, found) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not YAML: {error}") from None
    raw = _parse(text, str(path))
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: expected sections (run, data, model, ...), found {type(raw).__name__}")
    return raw


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: the 31st of February
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply") from None


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one value in place: `_apply(raw, "optimizer.lr=1e-4")`."""
    path, equals, value = override.partition("=")
    *sections, name = path.split(".")
    if not equals or not all((*sections, name)):
        raise UsageError(f"{override!r}: an override looks like optimizer.lr=1e-4")
    for section in sections:
        if not isinstance(raw.setdefault(section, {}), dict):
            raise UsageError(f"{override!r}: {section} is a value, not a section")
        raw = raw[section]
    raw[name] = _parse(value, path)


def _pin(raw: dict[str, Any]) -> Sources | None:
    """Choose the generations, as the run did when it began; None when the data section is too broken."""
    try:
        data = Data.model_validate(raw["data"])
        begun = _begun(Run.model_validate(raw["run"]).dir / "config.yaml")
    except (ValidationError, KeyError):
        return None
    wanted = {
        name: (tokens, generation or begun.get(name), weight)
        for name, (tokens, generation, weight) in data.sources().items()
    }
    sources = Sources.load(wanted, data.stream)
    for override in pinning(sources):
        _apply(raw, override)
    return sources


def _packed(raw: dict[str, Any]) -> bool:
    """Whether all directories of the data section exist; a broken one is reported later."""
    try:
        sources = Data.model_validate(raw["data"]).sources()
    except (ValidationError, KeyError):
        return False
    return all(tokens.is_dir() for tokens, _, _ in sources.values())


def pinning(sources: Sources) -> list[str]:
    """The overrides that pin the generations of some sources."""
    return [
        f"data.mixture.{name}.generation={number}" if name else f"data.generation={number}"
        for name, number in sources.pins.items()
    ]


def _begun(resolved: Path) -> dict[str, int | None]:
    """The generations in a run's own config.yaml, by source; of none, if the run has not begun."""
    if not resolved.exists():
        return {}
    sources = Data.model_validate(_read(resolved)["data"]).sources()
    return {name: generation for name, (_, generation, _) in sources.items()}


def _complete_model(raw: dict[str, Any], sources: Sources | None) -> None:
    """Fill the model's absent fields, in place: ids from the tokenizer, then those of the preset or start."""
    given = raw.setdefault("model", {}) if _start(raw) else raw.get("model")
    if not isinstance(given, dict):
        return
    fields = {key: value for key, value in given.items() if key != "preset"}
    base: dict[str, Any] = {}
    if (preset := given.get("preset")) is not None:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise UsageError(f"model.preset: {preset!r} is unknown; choose from {', '.join(PRESETS)}")
        base = dataclasses.asdict(PRESETS[preset])
    elif start := _start(raw):
        from pipeline.weights import shape_of  # with torch, which few configurations need to be read

        base = dataclasses.asdict(shape_of(start))
    if sources is not None:
        base["vocab_size"] = sources.vocab_size
    raw["model"] = {**base, **fields}


def _start(raw: dict[str, Any]) -> Path | None:
    """Where the model comes from when `run.init_from` says so: the run itself, once it has begun."""
    run = raw.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("init_from"), str):
        return None
    begun = Path(str(run.get("dir", "")))
    return begun if (begun / "config.yaml").exists() else Path(run["init_from"])


def _other_start(config: RunConfig, sources: Sources) -> list[str]:
    """Where `run.init_from` does not fit a run that has not begun."""
    if config.run.init_from is None or (config.run.dir / "config.yaml").exists():
        return []
    from pipeline.weights import misfits

    return misfits(config.run.init_from, config.model, sources)


def _impossible(config: RunConfig) -> list[str]:
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
    if schedule == "dualpipev" and stages == 1:
        found.append("parallel.schedule: dualpipev folds a pipeline's stages, and there is one: use 1f1b")
    return found


def _too_short(config: RunConfig, sources: Sources) -> list[str]:
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


def _refusal(path: Path, found: list[str]) -> UsageError:
    if len(found) == 1:
        return UsageError(f"{path}: {found[0]}")
    return UsageError(f"{path}: {len(found)} mistakes\n" + "\n".join(f"  {line}" for line in found))
