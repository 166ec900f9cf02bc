"""What changes during a run: learning rate by tokens, batch size by consumed samples. Pure."""

from __future__ import annotations

import math

from pipeline.config import RunConfig


def lr_of(config: RunConfig, tokens: int) -> float:
    """Return the rate of the run's step that ends at `tokens`."""
    return learning_rate(
        tokens,
        peak=config.optimizer.lr,
        warmup_tokens=config.schedule.warmup_tokens,
        decay_tokens=config.schedule.decay_tokens or config.train.tokens,
        min_lr_ratio=config.schedule.min_lr_ratio,
    )


def batch_of(config: RunConfig, consumed: int) -> int:
    """Return the sequences of the run's step that begins after `consumed` samples; fewer in the last."""
    batch = config.batch
    size = batch_size(
        consumed,
        full=batch.global_batch_size,
        multiple=batch.batch_size_multiple,
        ramp_start=batch.ramp_start_batch_size or batch.global_batch_size,
        ramp_samples=batch.ramp_tokens // config.model.n_ctx,
    )
    return min(size, config.samples - consumed)


def learning_rate(
    tokens: int, *, peak: float, warmup_tokens: int, decay_tokens: int, min_lr_ratio: float
) -> float:
    """Return the rate of the step that ends at `tokens`: linear warm-up, cosine to a minimum, then constant.

    As GPT-3 (Brown et al. 2020, appendix B): the cosine runs from the end of the warm-up to `decay_tokens`
    and ends at `min_lr_ratio` * `peak`; a ratio of 1 is a constant rate. Counting tokens, not steps, makes it
    independent of the batch ramp.

    >>> recipe = {"peak": 1.0, "warmup_tokens": 10, "decay_tokens": 110, "min_lr_ratio": 0.1}
    >>> [learning_rate(tokens, **recipe) for tokens in (5, 10, 60, 110, 999)]
    [0.5, 1.0, 0.55, 0.1, 0.1]
    """
    if tokens < warmup_tokens:
        return peak * tokens / warmup_tokens
    if tokens >= decay_tokens:
        return peak * min_lr_ratio
    progress = (tokens - warmup_tokens) / (decay_tokens - warmup_tokens)
    return peak * (min_lr_ratio + (1 - min_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2)


def batch_size(consumed: int, *, full: int, multiple: int, ramp_start: int, ramp_samples: int) -> int:
    """Return the sequences of the step that begins after `consumed` samples.

    It grows linearly from `ramp_start` to `full` over `ramp_samples` (GPT-3, appendix B), rounded down to a
    `multiple`, so that every layout whose micro-batches divide that takes the same batches.

    >>> recipe = {"full": 16, "multiple": 4, "ramp_start": 4, "ramp_samples": 100}
    >>> [batch_size(consumed, **recipe) for consumed in (0, 33, 34, 99, 100, 500)]
    [4, 4, 8, 12, 16, 16]
    """
    if consumed >= ramp_samples:
        return full
    grown = ramp_start + (full - ramp_start) * consumed // ramp_samples
    return max(multiple, grown // multiple * multiple)
