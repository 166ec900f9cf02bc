"""Which positions count in a loss: all but those whose input and target are both end-of-text.

`corpus forget` turns every token of a document into end-of-text, so that no other token changes its place. A
model would learn to repeat it, and a held-out loss would fall by the share of what was forgotten. Where a
document ends, and where one begins, the position counts: its target or its input is text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Rows = TypeVar("Rows", npt.NDArray[Any], "torch.Tensor")


def counted(rows: Rows, eot: int) -> Rows:
    """Mask (sequences, n_ctx) of the positions that count in tokens (sequences, n_ctx + 1).

    >>> import numpy as np
    >>> counted(np.array([[5, 0, 0, 0, 7, 8]]), eot=0).astype(int)
    array([[1, 0, 0, 1, 1]])
    """
    text = rows != eot
    mask: Rows = text[:, :-1] | text[:, 1:]
    return mask
