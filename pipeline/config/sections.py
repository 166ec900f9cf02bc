"""What a training run's YAML holds: its sections, and each field with what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model import GPTConfig


class Section(BaseModel):
    """A part of the configuration; a field it does not know is an error, not a silent nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Run(Section):
    """Where the run lives."""

    dir: Path
    """Everything the run writes is under here; the same directory again resumes it."""
    seed: int = 0
    """Seed of initial weights, data order and dropout."""
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
    """A directory made by `outbound pack`; or give `mixture` instead."""
    generation: int | None = None
    """Which generation-N.json; the newest at the first start when absent, and the same ever after."""
    mixture: dict[Annotated[str, Field(pattern=r"^[\w-]+$")], MixtureSource] | None = None
    """Sources by name, each with its share of the samples."""
    stream: str | None = None
    """Where the training shards of `tokens` are streamed from instead of mapped: URLs, `pipe:` commands or
    paths with {shard}, {00000..00010} or `*`. Manifest, tokenizer and held-out shards stay in `tokens`."""
    order_block_sequences: int = Field(default=64, ge=1)
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
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """Decay of the averages of the gradient and of its square."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the square root of the second average."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Share of a matrix that a step takes off, times the learning rate."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Norm to which the whole gradient is clipped; 0 never clips."""


class Schedule(Section):
    """The learning rate, in tokens."""

    warmup_tokens: int = Field(default=0, ge=0)
    """Tokens over which the rate rises linearly to its peak."""
    decay_tokens: int | None = Field(default=None, gt=0)
    """Tokens at which the cosine reaches its minimum; the end of training when absent."""
    min_lr_ratio: float = Field(default=0.1, ge=0, le=1)
    """Lowest rate as a share of the peak; 1 keeps the rate constant after the warm-up."""


class Batch(Section):
    """How many sequences a step takes."""

    global_batch_size: int = Field(ge=1)
    """Sequences of a step, over all ranks."""
    micro_batch_size: int = Field(default=1, ge=1)
    """Sequences of one forward pass of one rank."""
    batch_size_multiple: int = Field(ge=1)
    """Divides every batch; layouts whose micro-batch x replicas divides this take the same batches."""
    ramp_start_batch_size: int | None = Field(default=None, ge=1)
    """Sequences of the first step; `global_batch_size` when absent."""
    ramp_tokens: int = Field(default=0, ge=0)
    """Tokens until the batch has grown linearly to `global_batch_size`."""


class Parallel(Section):
    """How the model is spread; data parallelism is what remains of the processes."""

    pipeline_stages: int = Field(default=1, ge=1)
    """Stages into which the layers are divided; 1 without a pipeline."""
    zero_stage: int = Field(default=1, ge=0, le=3)
    """Partitioned over data-parallel ranks: 0 nothing, 1 optimizer states, 2 and gradients, 3 and weights."""
    pipeline_schedule: Literal["1f1b", "dualpipev"] = "1f1b"
    """How micro-batches pass the stages; `dualpipev` (experimental) folds twice as many over the ranks, so
    that the last rank turns round at once and the bubble is smaller."""
    blocks_per_stage: list[Annotated[int, Field(ge=0)]] | None = None
    """Blocks of each stage; the first also holds the embeddings, the last the head. When absent, the slowest
    stage is made as fast as possible. `dualpipev` has two stages a rank."""
    reduce_dtype: Literal["fp32", "bf16"] = "fp32"
    """Format in which data-parallel ranks average gradients. ZeRO-0 and 1 average the sum of all
    micro-batches, once a step, and take fp32 only. ZeRO-2 and 3 average those of every micro-batch; bf16
    halves the bytes, and rounds each of them."""
    activation_checkpointing: bool = False
    """Keep only what enters each block, and compute its inside again for the backward pass: about a third
    more arithmetic for a fraction of the activations' memory, and the same gradients."""

    @property
    def parts(self) -> int:
        """Into how many parts the layers are divided: one a rank of the pipeline, under dualpipev two."""
        return self.pipeline_stages * (2 if self.pipeline_schedule == "dualpipev" else 1)


class Train(Section):
    """How long, and what happens on the way."""

    tokens: int = Field(ge=1)
    """Length of the run, rounded down to whole `batch_size_multiple`s."""
    eval_every_steps: int = Field(default=250, ge=1)
    """Steps between two measures of the held-out loss."""
    eval_sequences: int = Field(ge=1)
    """Held-out sequences of every evaluation."""
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    """Steps between two checkpoints; the last step always has one."""
    keep_last: int = Field(default=3, ge=1)
    """Newest checkpoints that are kept."""
    keep_every_steps: int | None = Field(default=None, ge=1)
    """Checkpoints at multiples of this are kept, too."""
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

    max_non_finite_steps: int = Field(default=3, ge=1)
    """Steps in a row whose gradient is not finite, each skipped, at which the run ends."""
    spike_zscore: float | None = Field(default=None, gt=0)
    """A loss this many standard deviations above the mean of the last `spike_window_steps` is a spike: the
    checkpoint before it is loaded, and the samples since then are skipped for good. Absent: no loss is."""
    spike_window_steps: int = Field(default=100, ge=2)
    """Steps whose losses `spike_zscore` is measured by."""
    max_spikes: int = Field(default=5, ge=0)
    """Spikes that are undone; one more ends the run."""
    dry_run_batch: bool = True
    """Compute one batch of the full size at learning rate 0 before the first step, so that what would run out
    of memory at the end of the batch ramp does so at once."""
    stall_timeout_s: float = Field(default=1800, ge=0)
    """A process that makes no progress for so long writes its threads' stacks and ends; 0: never."""


class Wandb(Section):
    """Weights & Biases; the same numbers are always in metrics.jsonl, which `outbound wandb-sync` sends."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    """offline: the SDK's files in each attempt's folder. online: sent while it trains, each step once."""
    project: str = "outbound"
    """Name of the project in Weights & Biases."""


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
        """Sequences of the whole run: `train.tokens` rounded down to whole `batch_size_multiple`s."""
        multiple = self.batch.batch_size_multiple
        return self.train.tokens // self.model.n_ctx // multiple * multiple
