"""DeepSpeed behind one small interface: the same loop drives pipeline stages and the plain engine.

With pipeline stages, `PipelineModule` under ZeRO-1; with one stage, the plain engine under ZeRO-0 to 3.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.checkpoint import checkpoint

from model import GPT, GPTConfig
from model.block import Block
from model.compiled import compile_blocks
from model.flex import FlexKernel, install_kernel
from model.init import initial_value
from model.layers import Layer, layers
from model.names import canonical_name
from pipeline.config import BF16_WITHOUT_ZERO, RunConfig
from pipeline.costs.layers import DECAY, NO_DECAY
from pipeline.data.loader import MicroBatch
from pipeline.distributed import deepspeed_workarounds as workarounds
from pipeline.distributed.device import Device
from pipeline.distributed.ranks import gather_json
from pipeline.distributed.stage_bounds import stage_bounds
from pipeline.distributed.timers import StepTimer
from pipeline.distributed.zero_state import fill, optimizer_within, shape
from pipeline.errors import UsageError

os.environ.update(workarounds.import_environment())

import deepspeed
from deepspeed.pipe import DualPipeVModule, LayerSpec, PipelineModule, TiedLayerSpec

workarounds.ignore_deprecations()
log = logging.getLogger("outbound")


class Engine(Protocol):
    """Interface of both engines to the loop and to checkpoints."""

    parameters: dict[str, nn.Parameter]
    """Parameters of this process, by canonical name; a tied one stands on two stages."""
    owned: list[str]
    """Names that this stage saves: of a tied parameter, the first copy."""
    optimizer: Any
    """DeepSpeed's ZeRO optimizer, or torch's own under ZeRO-0."""
    stage: int
    dp_rank: int
    dp_size: int
    timer: StepTimer
    """Times of the last step."""

    def train_batch(self, batches: Iterator[MicroBatch], sequences: int, lr: float) -> float:
        """Take one optimizer step over a batch of so many sequences in all; return its mean loss, in nats."""

    def eval_loss(self, batches: Iterator[MicroBatch], sequences: int) -> float:
        """Return the mean loss over so many sequences in all, without dropout; weights stay as they are."""

    def grad_norm(self) -> float:
        """Return the norm of the last step's whole gradient, before clipping."""


def build_engine(config: RunConfig, device: Device) -> Engine:
    """Build the model over the processes that have met, with its initial weights and optimizer.

    Raises UsageError when the device's number format needs another layout.
    """
    if "bf16" in device.precision and config.parallel.zero_stage == 0:
        raise UsageError(f"parallel.zero_stage: {BF16_WITHOUT_ZERO}")
    with workarounds.quiet():
        return (
            PipelineEngine(config, device)
            if config.parallel.pipeline_stages > 1
            else PlainEngine(config, device)
        )


class PipelineEngine:
    """A model in stages: micro-batches flow through, one forward and one backward in turn (1F1B).

    Under DualPipeV each rank holds a stage of the way out and one of the way back.
    """

    def __init__(self, config: RunConfig, device: Device) -> None:
        kind = _FoldedStages if config.parallel.pipeline_schedule == "dualpipev" else _Stages
        with workarounds.untracked_broadcasts():
            module = kind(config.model, config.parallel.pipeline_stages, stage_bounds(config, device.type))
        self.parameters = _prepare(module, config)
        self._engine = _initialise_deepspeed(module, self.parameters, config, device)
        self.optimizer = self._engine.optimizer
        self.owned = [
            name for name, p in self.parameters.items() if not getattr(p, "ds_pipe_replicated", False)
        ]
        self.stage: int = self._engine.stage_id
        self.timer = StepTimer(device.type)
        self.timer.watch(self._engine)
        self.dp_rank: int = self._engine.grid.get_data_parallel_rank()
        self.dp_size: int = self._engine.grid.get_data_parallel_world_size()

    def train_batch(self, batches: Iterator[MicroBatch], sequences: int, lr: float) -> float:
        """Take one step; every stage learns the loss."""
        _set_lr(self._engine, lr)
        self._engine.set_train_batch_size(sequences)
        self.timer.start()
        return float(self._engine.train_batch(batches))

    def eval_loss(self, batches: Iterator[MicroBatch], sequences: int) -> float:
        """Compute the loss; every stage learns it."""
        return workarounds.eval_batch(self._engine, batches, sequences)

    def grad_norm(self) -> float:
        """Norm of the last gradient over all stages."""
        return float(self._engine.get_global_grad_norm())


class _Stages(PipelineModule):  # type: ignore[misc]
    """The model's layers as DeepSpeed's pipeline, with the stages of `stage_bounds`."""

    def __init__(self, config: GPTConfig, stages: int, bounds: list[int]) -> None:
        self._bounds = bounds
        super().__init__([_spec(layer) for layer in layers(config)], num_stages=stages)
        if (last := self._last_functions()) is not None:
            # The head is the loss: given the targets too, it keeps the logits from ever standing whole.
            self.loss_fn = last.pop()

    def _last_functions(self) -> list[Any] | None:
        """The functions of the last stage, if it is here."""
        return self.forward_funcs if self.stage_id == self.num_stages - 1 else None

    def _partition_layers(self, method: str) -> None:
        workarounds.set_stage_bounds(self, self._bounds)


class _FoldedStages(DualPipeVModule, _Stages):  # type: ignore[misc]
    """Twice as many stages, out over the ranks and back: the first rank holds the first and the last."""

    def _last_functions(self) -> list[Any] | None:
        return self.phase_funcs[1] if self.stage_id == 0 else None


def _spec(layer: Layer) -> LayerSpec:
    if layer.tied_to is None:
        return LayerSpec(layer.module, *layer.args)
    return TiedLayerSpec(layer.tied_to, layer.module, *layer.args, forward_fn=layer.forward)


class PlainEngine:
    """The whole model in every process; micro-batches accumulate, data-parallel ranks average."""

    stage = 0

    def __init__(self, config: RunConfig, device: Device) -> None:
        # Under ZeRO-3 no rank ever holds more than its share of all weights and one layer's whole ones.
        partitioned = config.parallel.zero_stage == 3
        with deepspeed.zero.Init(config_dict_or_path=_settings(config, device), enabled=partitioned):
            module = GPT(config.model)
        if partitioned:
            workarounds.release_linear_weights(module)
        self.parameters = _prepare(module, config)
        self._micro = config.batch.micro_batch_size
        self._engine = _initialise_deepspeed(module, self.parameters, config, device)
        self.optimizer = self._engine.optimizer
        # Under ZeRO-0 in fp32 it is torch's own.
        self._bare = self.optimizer is optimizer_within(self.optimizer)
        self._norm = math.nan
        self.owned = list(self.parameters)
        self.timer = StepTimer(device.type)
        # From ZeRO-2 on, every pass waits for the other ranks: none is this rank's own time.
        self._timed = config.parallel.zero_stage < 2
        self.dp_rank = dist.get_rank()
        self.dp_size = dist.get_world_size()

    def train_batch(self, batches: Iterator[MicroBatch], sequences: int, lr: float) -> float:
        """Take one step; every rank learns the mean loss."""
        _set_lr(self._engine, lr)
        self._engine.set_train_batch_size(sequences)
        self._engine.train()
        self.timer.start()
        count = sequences // (self._micro * self.dp_size)
        total = torch.zeros((), device=self._engine.device)
        for index, (inputs, targets) in enumerate(batches):
            last = index == count - 1
            workarounds.set_step_boundary(self._engine, last)
            with self.timer.computing() if self._timed else contextlib.nullcontext():
                loss = self._loss(inputs, targets)
            with self.timer.computing() if self._timed and not last else contextlib.nullcontext():
                self._engine.backward(loss)
            total += loss.detach()
            if last and self._bare:
                self._norm = workarounds.bare_grad_norm(self.parameters.values())
                if not math.isfinite(self._norm):
                    self._engine.zero_grad()
                    break
            self._engine.step()
        return self._mean(total / count)

    def eval_loss(self, batches: Iterator[MicroBatch], sequences: int) -> float:
        """Compute the loss; every rank learns it."""
        self._engine.eval()
        with torch.no_grad():
            losses = [self._loss(inputs, targets) for inputs, targets in batches]
        return self._mean(torch.stack(losses).mean())

    def grad_norm(self) -> float:
        """Norm of the last gradient."""
        return self._norm if self._bare else float(self._engine.get_global_grad_norm())

    def _loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        device = self._engine.device
        return self._engine(inputs.to(device), targets.to(device))  # type: ignore[no-any-return]

    def _mean(self, value: torch.Tensor) -> float:
        dist.all_reduce(value)
        return float(value) / self.dp_size


def _prepare(module: nn.Module, config: RunConfig) -> dict[str, nn.Parameter]:
    """Fill a module with the run's initial weights; return its parameters by canonical name."""
    named = {canonical_name(name, config.model): value for name, value in module.named_parameters()}
    for name, parameter in named.items():
        fill(parameter, initial_value(name, shape(parameter), config.model, config.run.seed))
    return named


def _initialise_deepspeed(
    module: nn.Module, parameters: dict[str, nn.Parameter], config: RunConfig, device: Device
) -> Any:
    groups: dict[str, list[nn.Parameter]] = {DECAY: [], NO_DECAY: []}
    for value in parameters.values():
        groups[DECAY if len(shape(value)) >= 2 else NO_DECAY].append(value)
    wanted = config.optimizer
    # Given torch's optimizer, DeepSpeed compiles none of its own; fused is five times as fast on a CPU.
    optimizer = torch.optim.AdamW(
        [
            {"params": groups[DECAY], "weight_decay": wanted.weight_decay},
            {"params": groups[NO_DECAY], "weight_decay": 0.0},
        ],
        lr=wanted.lr,
        betas=wanted.betas,
        eps=wanted.eps,
        fused=True,
    )
    workarounds.skip_muon_compilation()
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=optimizer, config=_settings(config, device), dist_init_required=False
    )
    workarounds.skip_reduction_of_one_rank(engine)
    _adapt(module, config, device)
    return engine


def _adapt(module: nn.Module, config: RunConfig, device: Device) -> None:
    """Change how blocks compute, once their weights have the format and the device that they train in."""
    n_ctx = config.model.n_ctx
    if config.train.flex_attention:
        reason = install_kernel(module, n_ctx, FlexKernel())
        _warn("train.flex_attention: not used, banded layers run block by block", reason, device)
    if config.train.compile:
        reason = compile_blocks(module, config.batch.micro_batch_size, n_ctx)
        _warn("train.compile: not used, blocks run as they are written", reason, device)
    if config.parallel.activation_checkpointing:
        # DeepSpeed has this for pipelines only, and there it finds blocks by their class's name (issue 688).
        for block in (part for part in module.modules() if isinstance(part, Block)):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]


def _warn(what: str, reason: str | None, device: Device) -> None:
    """Let the first rank, whose warnings people see, say what some ranks have found a reason against."""
    reasons = [message for message in gather_json(reason, device.type) if message]
    if reasons and dist.get_rank() == 0:
        log.warning("%s, on %d of %d ranks: %s", what, len(reasons), dist.get_world_size(), reasons[0])


def _settings(config: RunConfig, device: Device) -> dict[str, Any]:
    """DeepSpeed's configuration."""
    return {
        "train_micro_batch_size_per_gpu": config.batch.micro_batch_size,
        # Every step says its own number; dualpipev wants so many from the start.
        "gradient_accumulation_steps": config.parallel.parts,
        "gradient_clipping": config.optimizer.max_grad_norm,  # the default changed in 0.19.3
        "zero_optimization": workarounds.zero_settings(config.parallel.zero_stage),
        "steps_per_print": None,
        **device.precision,
    }


def _set_lr(engine: Any, lr: float) -> None:
    for group in engine.optimizer.param_groups:
        group["lr"] = lr
