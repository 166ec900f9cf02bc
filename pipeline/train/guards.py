"""Loss spikes: a loss far above those just before it (Chowdhery et al. 2022, PaLM, section 5.1). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def z_score(loss: float, recent: Sequence[float]) -> float:
    """How many standard deviations a loss lies above the mean of the recent ones.

    >>> z_score(3.0, [1.0, 2.0, 1.0, 2.0])
    3.0
    """
    mean = math.fsum(recent) / len(recent)
    variance = math.fsum((each - mean) ** 2 for each in recent) / len(recent)
    return (loss - mean) / max(math.sqrt(variance), 1e-12)
