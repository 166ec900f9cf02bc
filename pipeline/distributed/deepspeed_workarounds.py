"""DeepSpeed's behaviour that a run cannot live with, and what prevents it: one function each.

Every docstring names what DeepSpeed does, its thread on github.com/deepspeedai/DeepSpeed where we found one,
the version in which we saw it, and the test that fails without the function. After an upgrade of DeepSpeed,
leave a function out and run its test: if the test passes, the function can go.

The functions stand in the order in which a run needs them: import, meet, build, step, evaluate.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn


def import_environment() -> dict[str, str]:
    """Return the environment to set before `import deepspeed`: the accelerator's name.

    Without it DeepSpeed looks for accelerators as it is imported and warns of its choice on standard output,
    which belongs to the command's result.

    Issue: 3680, where the message went from `print` to a logger that writes there too. Seen in 0.19.8.
    Test: test_standard_output_stays_empty.
    """
    if "DS_ACCELERATOR" in os.environ:
        return {}
    return {"DS_ACCELERATOR": "cuda" if torch.cuda.is_available() else "cpu"}


def ignore_deprecations() -> None:
    """Ignore torch's warnings of deprecated collectives, which ZeRO-3 calls once for every parameter.

    Issue: none found for these of torch 2.13; 2995 replaced others. Seen in 0.19.8.
    Test: test_no_warning_of_torch_reaches_the_terminal.
    """
    warnings.filterwarnings("ignore", r"`torch\.distributed\..*` is deprecated", FutureWarning)


def skip_shared_memory_build() -> None:
    """Keep `init_distributed` from compiling a shared-memory all-reduce, silently and for minutes, on CPUs.

    A killed build leaves a lock behind, on which every later start waits. No setting turns the build off.

    Issue: none found for the wait; in 7108 the build fails. Seen in 0.19.8.
    Test: test_nothing_is_compiled_at_start.
    """
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def skip_muon_compilation() -> None:
    """Keep `initialize` from loading torch's compiler, which takes a second in every process.

    To choose an optimizer, DeepSpeed imports its Muon, whose functions are decorated with `torch.compile`. We
    give it AdamW.

    Issue: none found. Seen in 0.19.8. Test: test_nothing_is_compiled_at_start.
    """
    from deepspeed.runtime import compiler

    compiler.compile = lambda: compiler.dummy_decorator


def forget_pipeline_groups() -> None:
    """Let the next engine of this process form its own process groups.

    A pipeline engine leaves its groups in a global. A plain engine that is built after it takes those, and
    raises. A run builds one engine; preflight builds many.

    Issue: none found. Seen in 0.19.8. Test: test_a_plain_engine_is_built_after_a_pipeline.
    """
    from deepspeed.utils import groups

    groups.mpu = None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep standard output clean while DeepSpeed builds: it prints the layers of every stage.

    Its logger writes to standard output as well, and from now on to standard error.

    Issue: none found. Seen in 0.19.8. Test: test_standard_output_stays_empty.
    """
    from deepspeed.utils import logger

    for handler in logger.handlers:
        handler.setStream(sys.stderr)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def untracked_broadcasts() -> contextlib.AbstractContextManager[None]:
    """Build a PipelineModule within this context.

    It broadcasts tied weights with gradients enabled, and torch warns of that in the first backward pass.

    Issue: 5075 mended the same broadcast of the plain engine. Seen in 0.19.8.
    Test: test_no_warning_of_torch_reaches_the_terminal.
    """
    return torch.no_grad()


def set_stage_bounds(module: Any, bounds: list[int]) -> None:
    """Give a PipelineModule its stages, in place of its `_partition_layers`.

    Its own methods ("uniform", "parameters", "type:") can leave a stage without any weight, or without one of
    an optimizer group. ZeRO-1 then hangs in the norm's all-reduce. They also count the tied matrix twice.

    bounds: of all stages in the list of layers; under DualPipeV of twice as many.

    Issue: 1522 for the hang, 2974 asks for such a list. Seen in 0.19.8.
    Test: test_stages_are_those_asked_for.
    """
    module.parts = bounds
    module._set_bounds(*bounds[module.stage_id : module.stage_id + 2])


def release_linear_weights(module: nn.Module) -> None:
    """Let the backward pass of linear layers refer to the weight, and not keep it.

    torch's linear layer keeps the weight that ZeRO-3 has gathered alive until the backward pass. DeepSpeed's
    `memory_efficient_linear` replaces `torch.nn.functional.linear` in the whole process. Unless its rows are
    flat, it also rounds a bf16 product before it adds the bias. So here its function gets flat rows, in the
    layers of this module only.

    Issue: 8189 describes the weights that stay; none found for the rounding. Seen in 0.19.8.
    Test: test_the_backward_pass_under_zero_3_keeps_no_gathered_weight.
    """
    from deepspeed.runtime.zero.linear import LinearFunctionForZeroStage3

    def flat(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = LinearFunctionForZeroStage3.apply(x.flatten(0, -2), layer.weight, layer.bias)
        return rows.view(*x.shape[:-1], -1)

    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.forward = partial(flat, layer)  # type: ignore[method-assign]


def zero_settings(stage: int) -> dict[str, Any]:
    """Return DeepSpeed's "zero_optimization" for a ZeRO stage.

    contiguous_gradients is on by default. It makes ZeRO-1 in fp32 copy all gradients into a buffer of 5e8
    elements, which it allocates in every step. memory_efficient_linear: see `release_linear_weights`.

    Issue: 1302 measures that buffer. Seen in 0.19.8. Test: test_bytes_of_real_ranks_are_as_planned.
    """
    return {"stage": stage, "contiguous_gradients": stage > 1, "memory_efficient_linear": False}


def bf16_settings() -> dict[str, Any]:
    """Return DeepSpeed's settings for training in bf16.

    Without immediate_grad_update, a pipeline loses part of a tied weight's gradient, without any message.
    Without fp32 accumulation, the small gradients of many micro-batches vanish.

    Issue: none found for tied weights; 7985 mended another loss in the same optimizer. Seen in 0.19.8.
    Test: test_the_suite_sees_a_layout_that_is_wrong, "late gradients".
    """
    return {
        "bf16": {"enabled": True, "immediate_grad_update": True},
        "data_types": {"grad_accum_dtype": "fp32"},
    }


def reduction_settings(dtype: str) -> dict[str, Any]:
    """Return DeepSpeed's setting of the format, "fp32" or "bf16", in which gradients are averaged.

    Without it DeepSpeed averages in bf16 wherever it computes in bf16. It then rounds what micro-batches have
    summed up in fp32, even on a single rank.

    Issue: 3370 made bf16 the default. Seen in 0.19.8.
    Test: test_gradients_are_averaged_in_fp32_unless_asked_otherwise.
    """
    return {"communication_data_type": dtype}


def skip_reduction_of_one_rank(engine: Any) -> None:
    """Keep ZeRO-0 and 1 from averaging the gradients of a single data-parallel rank with themselves.

    That is up to three passes over all gradients in every step.

    Issue: none found. Seen in 0.19.8. Test: test_one_rank_reduces_no_gradients.
    """
    from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

    if engine.dp_world_size == 1:
        engine.buffered_allreduce_fallback = lambda *_, **__: None
        if type(engine.optimizer) is DeepSpeedZeroOptimizer:
            engine.optimizer.buffered_reduce_fallback = lambda *_, **__: None


def set_step_boundary(engine: Any, last: bool) -> None:
    """Tell the plain engine whether a micro-batch is the last of its step.

    Its own boundary counts micro-batches since the start of the run. After a change of batch size that are no
    multiples of each other, it would step in mid-batch.

    Issue: 8183. Seen in 0.19.8. Test: test_a_layout_takes_the_same_steps_and_shares_its_checkpoints.
    """
    engine.set_gradient_accumulation_boundary(last)


def bare_grad_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Return the gradient's norm under ZeRO-0 in fp32, before the step.

    There DeepSpeed steps torch's optimizer itself. It clips, but keeps no norm, and does not skip a gradient
    that is not finite, as its own optimizers do.

    Issue: 7255. Seen in 0.19.8.
    Test: test_a_step_whose_gradient_is_not_finite_on_one_rank_is_skipped_by_all.
    """
    return float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))


def eval_batch(engine: Any, batches: Iterator[Any], sequences: int) -> float:
    """Return the mean loss of a pipeline over so many sequences in all.

    `eval_batch` takes as many micro-batches as the last training step. Given another number by its
    num_micro_batches, DualPipeV looks for them in the buffers of that step.

    Issue: 3045 for pipelines; none found for DualPipeV, which 8576 added. Seen in 0.19.8.
    Test: test_a_layout_takes_the_same_steps_and_shares_its_checkpoints, "dualpipev".
    """
    engine.set_train_batch_size(sequences)
    return float(engine.eval_batch(batches))
