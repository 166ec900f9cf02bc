"""How likely texts are to a model, and which tokens are the likeliest next: many requests at once.

The common beginning of requests is computed once (`model.tree`). The head is computed only where a prediction
is wanted, a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.branches import Branches
from model.gpt import GPT
from model.tree import Ints, Row, Text, Tokens, batches, rows

BATCH_TOKENS = 4096
"""Tokens that the model reads at once."""
LARGEST_CHUNK = 2**24
"""Logits in memory at once: 64 MiB in fp32."""

Progress = Callable[[int], object]
"""Called after each batch with the number of requests that it answered."""


@torch.inference_mode()
def score(
    model: GPT,
    requests: Sequence[tuple[Tokens, Tokens]],
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> list[tuple[float, bool]]:
    """Score each request's continuation after its context.

    Returns its log-likelihood in nats, and whether each of its tokens was the likeliest (the first of
    equals). What is longer than n_ctx + 1 tokens loses the beginning of its context, as in lm-eval: the last
    token is never an input. The model is put into evaluation mode.

    Raises ValueError that names the request by index when its context or continuation is empty, or the
    continuation alone is longer than n_ctx.
    """
    n_ctx = model.config.n_ctx
    texts = []
    for index, (context, continuation) in enumerate(requests):
        if not context or not continuation:
            raise ValueError(f"request {index}: its {'continuation' if context else 'context'} is empty")
        if len(continuation) > n_ctx:
            raise ValueError(f"request {index}: {len(continuation)} tokens do not fit a context of {n_ctx}")
        whole = (*context[-n_ctx:], *continuation)
        texts.append(Text(whole[-n_ctx - 1 : -1], len(continuation)))
    scores = [(0.0, False)] * len(requests)
    for answered, places, states in _states(model, texts, batch_tokens):
        targets = np.array([token for index in answered for token in requests[index][1]])
        found, greedy = _log_probabilities(model, states, places, targets)
        first = 0
        for index in answered:
            end = first + texts[index].asked
            scores[index] = float(found[first:end].sum()), bool(greedy[first:end].all())
            first = end
        if progress:
            progress(len(answered))
    return scores


@torch.inference_mode()
def likeliest(
    model: GPT,
    contexts: Sequence[Tokens],
    n: int,
    *,
    progress: Progress | None = None,
) -> list[list[tuple[int, float]]]:
    """Find the n likeliest tokens after each context, with their log-probabilities, the likeliest first.

    A context longer than n_ctx loses its beginning. The model is put into evaluation mode. Raises ValueError
    that names the context by index when it is empty.
    """
    texts = []
    for index, context in enumerate(contexts):
        if not context:
            raise ValueError(f"context {index} is empty: begin with the end-of-text token")
        texts.append(Text(tuple(context[-model.config.n_ctx :]), 1))
    found: list[list[tuple[int, float]]] = [[] for _ in contexts]
    for answered, places, states in _states(model, texts, BATCH_TOKENS):
        best: list[list[tuple[int, float]]] = []
        for _, logits in _logits(model, states):
            values, ids = logits.topk(min(n, model.config.vocab_size))
            values = values - logits.logsumexp(-1, keepdim=True)
            best += [list(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)]
        for index, place in zip(answered, places, strict=True):
            found[index] = best[place]
        if progress:
            progress(len(answered))
    return found


def _states(model: GPT, texts: Sequence[Text], batch_tokens: int) -> Iterator[tuple[list[int], Ints, Tensor]]:
    """Read the texts. Yields for each batch: the indices of its texts; the place in the states of each of
    their predictions, in order; the states (states, d_model), each once."""
    model.eval()
    config = model.config
    # A layer needs 12 d_model^2 products a token, and 2 d_model a pair of tokens. So 6 d_model pairs would
    # cost as much as a token, if attention were as fast as a product of matrices; on a CPU it is slower.
    grown = list(rows(texts, largest=max(batch_tokens, config.n_ctx), pairs=2 * config.d_model))
    for batch in batches(grown, batch_tokens):
        chosen = [grown[index] for index in batch]
        hidden = _hidden(model, chosen)
        asked = [(text, row, places) for row, each in enumerate(chosen) for text, places in each.asked]
        flat = [row * hidden.size(1) + place for _, row, places in asked for place in places]
        once, places = np.unique(flat, return_inverse=True)
        states = hidden.flatten(0, 1)[torch.from_numpy(once).to(hidden.device)]
        yield [text for text, _, _ in asked], places, states


def _hidden(model: GPT, chosen: Sequence[Row]) -> Tensor:
    """Hidden states (rows, longest, d_model); those of padding mean nothing."""
    longest = max(len(row.tokens) for row in chosen)
    shape = len(chosen), longest
    tokens, depth = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    end = np.tile(np.arange(1, longest + 1), (len(chosen), 1))  # padding is seen by itself alone
    for at, row in enumerate(chosen):
        tokens[at, : len(row.tokens)] = row.tokens
        depth[at, : len(row.tokens)] = row.depth
        end[at, : len(row.tokens)] = row.end
    device = next(model.parameters()).device
    inputs = torch.from_numpy(tokens).to(device)
    if not any(row.branches for row in chosen):  # no token looks forward to the padding
        return model.hidden(inputs)
    bands = [model.config.band(layer) for layer in range(model.config.n_layer)]
    branches = Branches(torch.from_numpy(depth).to(device), torch.from_numpy(end).to(device), bands)
    return model.hidden(inputs, branches=branches)


def _log_probabilities(
    model: GPT, states: Tensor, places: Ints, targets: Ints
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The log-probability of each target after the state in its place, and whether none is likelier."""
    found, greedy = np.empty(len(targets)), np.empty(len(targets), bool)
    for first, logits in _logits(model, states):
        (chosen,) = np.nonzero((first <= places) & (places < first + len(logits)))
        place = torch.from_numpy(places[chosen] - first).to(logits.device)
        target = torch.from_numpy(targets[chosen]).to(logits.device)
        largest, likely = logits.max(-1)
        greedy[chosen] = (likely[place] == target).cpu()
        wanted = logits[place, target] - largest[place]
        # In place, so that the logits stand once; `argmax` and `logsumexp` also take twice as long.
        rest = logits.sub_(largest[:, None]).exp_().sum(-1).log()
        found[chosen] = (wanted - rest[place]).double().cpu()
    return found, greedy


def _logits(model: GPT, states: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield logits (some, padded_vocab) of at least float32 for the states from an index on, in order."""
    first = 0
    for chunk in torch.split(states, max(1, LARGEST_CHUNK // model.config.padded_vocab_size)):
        logits = model.project(chunk)
        yield first, logits.to(torch.promote_types(logits.dtype, torch.float32))
        first += len(chunk)
