"""Weights and Adam's moments as whole fp32 tensors, taken out of and put into ZeRO's partitions.

ZeRO-1 and 2 flatten each optimizer group and give each data-parallel rank one stretch of it; ZeRO-3 gives
each rank a stretch of every parameter. DeepSpeed's `safe_get_full_*` read the same fragments, but only after
a first step, and link one group's state only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

WEIGHT, MOMENTS = "weight", ("exp_avg", "exp_avg_sq")
KINDS = (WEIGHT, *MOMENTS)


def optimizer_within(optimizer: Any) -> Any:
    """Return the torch optimizer within DeepSpeed's; under ZeRO-0 in fp32 there is nothing around it."""
    return getattr(optimizer, "optimizer", optimizer)


def shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """The whole parameter's shape; under ZeRO-3 its own is empty between uses."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def fill(parameter: Any, whole: Tensor) -> None:
    """Set the weight that is computed with; `write` sets the optimizer's fp32 master too."""
    if not _partitioned(parameter):
        parameter.data.copy_(whole)
        return
    mine = _own_part(parameter)
    parameter.ds_tensor.data[: mine.stop - mine.start].copy_(whole.flatten()[mine])
    if parameter.numel():  # a small one that ZeRO-3 keeps whole on every rank
        parameter.data.copy_(whole)


def read(parameter: Any, kind: str, optimizer: Any) -> Tensor:
    """Assemble one tensor in its parameter's shape, fp32 on the CPU. Every rank of the stage must call it.

    A rank that holds all of it gets no copy but the optimizer's own memory, where that is fp32 on the CPU.
    """
    group = parameter.ds_process_group if _partitioned(parameter) else getattr(parameter, "_dp_group", None)
    alone = group is None or dist.get_world_size(group) == 1
    whole = None if alone else torch.zeros(shape(parameter), dtype=torch.float32, device=parameter.device)
    if (fragment := _fragment(parameter, optimizer)) is not None:
        flat, flat_part, own_part = fragment
        source = flat if kind == WEIGHT else optimizer_within(optimizer).state[flat].get(kind)
        if source is not None:  # before its first step, Adam has no moments
            part = source.detach().flatten()[flat_part].float()
            if whole is None:
                return part.view(shape(parameter)).cpu()
            whole.view(-1)[own_part] = part
    if whole is None:
        return torch.zeros(shape(parameter))
    dist.all_reduce(whole, group=group)
    return whole.cpu()


def write(parameter: nn.Parameter, kind: str, whole: Tensor, optimizer: Any) -> None:
    """Put one whole tensor in place; the moments' room must have been made by `set_updates`."""
    if kind == WEIGHT:
        fill(parameter, whole)
    if (fragment := _fragment(parameter, optimizer)) is not None:
        flat, flat_part, own_part = fragment
        target = flat if kind == WEIGHT else optimizer_within(optimizer).state[flat][kind]
        target.data.view(-1)[flat_part] = whole.flatten()[own_part].to(flat.device)


def updates(optimizer: Any) -> int:
    """Return how many updates Adam has made: what its bias correction counts."""
    states = optimizer_within(optimizer).state.values()
    return next((int(state["step"]) for state in states if "step" in state), 0)


def set_updates(optimizer: Any, count: int) -> None:
    """Give every group the state of an Adam that has made so many updates, its moments zero for now."""
    inner = optimizer_within(optimizer)
    # ZeRO-3 hands Adam its tensors one at a time, at the step.
    stepped = getattr(optimizer, "fp32_partitioned_groups_flat", None)
    for flat in stepped or [parameter for group in inner.param_groups for parameter in group["params"]]:
        inner.state[flat] = {kind: torch.zeros_like(flat) for kind in MOMENTS} | {
            "step": torch.tensor(float(count), dtype=torch.float32, device=flat.device)
        }


def _fragment(parameter: nn.Parameter, optimizer: Any) -> tuple[Tensor, slice, slice] | None:
    """Where this rank keeps its part: (the tensor Adam steps, the part's place in it, in the parameter)."""
    if _partitioned(parameter):
        group, start, _ = optimizer.grad_position[optimizer.get_param_id(parameter)]
        mine = _own_part(parameter)
        flat = optimizer.fp32_partitioned_groups_flat[group]
        return flat, slice(start, start + mine.stop - mine.start), mine
    if not hasattr(parameter, "_hp_mapping"):  # ZeRO-0 in fp32: Adam steps the parameter itself
        return parameter, slice(None), slice(None)
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    flat = optimizer_within(optimizer).param_groups[mapping.param_group_index]["params"][0]
    return flat, _slice(mapping.hp_fragment_address), _slice(mapping.lp_fragment_address)


def _slice(address: Any) -> slice:
    return slice(address.start, address.start + address.numel)


def _partitioned(parameter: nn.Parameter) -> bool:
    """Whether ZeRO-3 holds it."""
    return hasattr(parameter, "ds_tensor")


def _own_part(parameter: Any) -> slice:
    """This rank's stretch of a flattened ZeRO-3 parameter: equal ones, the last cut short or empty."""
    size: int = parameter.partition_numel()
    first = min(size * dist.get_rank(parameter.ds_process_group), parameter.ds_numel)
    return slice(first, min(first + size, parameter.ds_numel))
