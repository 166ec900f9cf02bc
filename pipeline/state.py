"""Weights and Adam's moments as whole fp32 tensors, taken out of and put into ZeRO's partitions.

ZeRO-1 flattens each optimizer group and gives each data-parallel rank one stretch of it. DeepSpeed's
`safe_get_full_*` read the same fragments, but only after a first step, and link one group's state only.
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


def read(parameter: nn.Parameter, kind: str, optimizer: Any) -> Tensor:
    """Assemble one tensor in its parameter's shape, fp32 on the CPU. Every rank of the stage must call it."""
    whole = torch.zeros(parameter.numel(), dtype=torch.float32, device=parameter.device)
    if (fragment := _fragment(parameter, optimizer)) is not None:
        flat, flat_part, own_part = fragment
        source = flat if kind == WEIGHT else optimizer_within(optimizer).state[flat].get(kind)
        if source is not None:  # before its first step, Adam has no moments
            whole[own_part] = source.detach().flatten()[flat_part].float()
    if (group := getattr(parameter, "_dp_group", None)) is not None:
        dist.all_reduce(whole, group=group)
    return whole.reshape(parameter.shape).cpu()


def write(parameter: nn.Parameter, kind: str, whole: Tensor, optimizer: Any) -> None:
    """Put one whole tensor in place; the moments' room must have been made by `set_updates`."""
    if kind == WEIGHT:
        parameter.data.copy_(whole)
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
    for group in inner.param_groups:
        for flat in group["params"]:
            inner.state[flat] = {kind: torch.zeros_like(flat) for kind in MOMENTS} | {
                "step": torch.tensor(float(count), dtype=torch.float32, device=flat.device)
            }


def _fragment(parameter: nn.Parameter, optimizer: Any) -> tuple[Tensor, slice, slice] | None:
    """Where this rank keeps its part: (the tensor Adam steps, the part's place in it, in the parameter)."""
    if not hasattr(parameter, "_hp_mapping"):  # ZeRO-0 in fp32: Adam steps the parameter itself
        return parameter, slice(None), slice(None)
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    flat = optimizer_within(optimizer).param_groups[mapping.param_group_index]["params"][0]
    return flat, _slice(mapping.hp_fragment_address), _slice(mapping.lp_fragment_address)


def _slice(address: Any) -> slice:
    return slice(address.start, address.start + address.numel)
