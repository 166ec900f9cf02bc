"""What a training run's YAML holds: its sections, and each field with what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model import GPTConfig


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
    verify: bool = True
    """Hash every shard at start, each process its share of them; sizes are always compared."""

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
    """As a share of the peak; 1 keeps the rate constant after the warm-up."""


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
    deterministic: bool = False
    """Resume on GPUs to the last bit, as on CPUs, at the price of some speed; an operation that has no
    deterministic form ends the run and is named."""
    compile: bool = False
    """Blocks by torch.compile, which takes its time at start; dropped with a warning where it does not
    compute the same."""
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
