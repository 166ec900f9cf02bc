"""The processes of a fine-tuning: each has the whole model, and computes its share of every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from pipeline.distributed.device import Device
from pipeline.distributed.ranks import Rank, gather_json

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """This process among the others; alone it exchanges nothing."""

    rank: Rank
    device: Device

    @staticmethod
    def alone(device: Device) -> Group:
        """A process that shares with no other."""
        return Group(Rank(global_rank=0, world_size=1, local_rank=0), device)

    @property
    def is_first(self) -> bool:
        """Whether it writes what is written once."""
        return self.rank.is_first

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of a list that all have."""
        return items[self.rank.global_rank :: self.rank.world_size]

    def gather(self, value: Any) -> list[Any]:
        """One JSON value of each process, in the order of ranks."""
        return [value] if self.rank.world_size == 1 else gather_json(value, self.device.type)

    def of_first(self, value: Any) -> Any:
        """The first process's JSON value."""
        return self.gather(value)[0]

    def add_up(self, parameters: Sequence[nn.Parameter], numbers: Sequence[float]) -> list[float]:
        """Add up all processes' gradients, in place, and some numbers, in one all-reduce.

        A process without examples has no gradients, and adds zeros.
        """
        if self.rank.world_size == 1:
            return list(numbers)
        gradients = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in parameters]
        extra = torch.tensor(numbers, device=self.device.type)
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), extra])
        dist.all_reduce(flat)
        sizes = [*(gradient.numel() for gradient in gradients), len(numbers)]
        *sums, extra = torch.split(flat, sizes)
        for parameter, summed in zip(parameters, sums, strict=True):
            parameter.grad = summed.view_as(parameter)
        return [float(number) for number in extra]
