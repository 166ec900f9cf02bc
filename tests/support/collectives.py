"""A count of what this process exchanges with others, in torch's dispatcher, where all collectives pass.

torch's own `CommDebugMode` counts calls; this one counts bytes, by number format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NAMES = {
    "allreduce_": "all_reduce",
    "_allgather_base_": "all_gather",
    "_reduce_scatter_base_": "reduce_scatter",
}
"""Operations of torch's dispatcher by the names that torch.distributed gives them."""
SCALARS = 8
"""Elements of a loss, a norm or a flag, which are not counted."""


class Collectives(TorchDispatchMode):
    """Within it, the bytes of every collective; of gathered and scattered tensors, those of the whole.

    reduced: called with the tensor of every reduction, before it begins.
    """

    def __init__(self, reduced: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self._reduced = reduced
        self.bytes: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func.namespace == "c10d" and func.__name__ != "recv_.default":  # the other side has sent it
            name = func.__name__.partition(".")[0]
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            whole = max(tensors, key=torch.numel, default=torch.empty(0))
            if whole.numel() > SCALARS:
                dtype = str(whole.dtype).removeprefix("torch.")
                self.bytes[NAMES.get(name, name), dtype] += whole.nbytes
                if "reduce" in name:
                    self._reduced(whole)
        return func(*args, **(kwargs or {}))

    def rows(self) -> list[tuple[str, str, int]]:
        """Operation, number format and bytes, sorted."""
        return sorted((*key, count) for key, count in self.bytes.items())
