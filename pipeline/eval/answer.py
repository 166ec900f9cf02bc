"""The model answers requests. Only this module computes, so only this one imports torch, when it does."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from dataprep.store.pool import Tick
from pipeline.checkpoint.format import Checkpoint
from pipeline.errors import RunError
from pipeline.eval.computing import CPU, DTYPES
from pipeline.eval.evaluation import Evaluation
from pipeline.eval.requests import Answer, Request, Writing
from pipeline.eval.trained_model import TrainedModel, find, of_checkpoint

if TYPE_CHECKING:
    from model import GPT

WRITTEN_AT_ONCE = 64
"""Texts that are written between two reports of progress."""


def answer(evaluation: Evaluation, requests: Sequence[Request], tick: Tick) -> list[Answer]:
    """Answer requests of one kind, in their order."""
    model = _opened(evaluation.model, evaluation.held, evaluation.dtype, evaluation.device)
    kind = requests[0].kind
    if kind == "score":
        return _score(model, requests, tick)
    if kind == "likeliest":
        return _likeliest(model, requests, tick)
    return [*_write(model, evaluation.model, requests, tick)]


def _score(model: GPT, requests: Sequence[Request], tick: Tick) -> list[Answer]:
    from model.score import score

    pairs = [(request.context, request.continuation) for request in requests]
    scores = score(model, pairs, progress=tick)
    if not all(isfinite(log_likelihood) for log_likelihood, _ in scores):
        raise RunError(
            "the model's log-likelihoods are no numbers: its training has diverged before this step"
        )
    return [
        Answer(key=request.key, log_likelihood=log_likelihood, is_greedy=is_greedy)
        for request, (log_likelihood, is_greedy) in zip(requests, scores, strict=True)
    ]


def _likeliest(model: GPT, requests: Sequence[Request], tick: Tick) -> list[Answer]:
    from model.score import likeliest

    contexts = [request.context for request in requests]
    found = likeliest(model, contexts, requests[0].likeliest, progress=tick)
    return [
        Answer(key=request.key, likeliest=tuple(tokens))
        for request, tokens in zip(requests, found, strict=True)
    ]


def _write(model: GPT, trained: TrainedModel, requests: Sequence[Request], tick: Tick) -> Iterator[Answer]:
    from model.layout import for_decoding
    from pipeline.inference.texts import write_texts

    writing, tokenizer = requests[0].writing or Writing(max_tokens=1), trained.load_tokenizer()
    model = for_decoding(model)
    for first in range(0, len(requests), WRITTEN_AT_ONCE):
        some = requests[first : first + WRITTEN_AT_ONCE]
        texts = write_texts(
            model,
            tokenizer,
            [request.context for request in some],
            max_tokens=writing.max_tokens,
            stops=writing.stops,
            beams=writing.beams,
            length_penalty=writing.length_penalty,
            top_k=writing.top_k,
            seed=writing.seed,
        )
        for request, text in zip(some, texts, strict=True):
            yield Answer(key=request.key, text=text)
        tick(len(some))


@lru_cache(maxsize=1)
def _opened(trained: TrainedModel, held: Path, dtype: str, device: str) -> GPT:
    """The model on its device; a process keeps it for its next partition.

    Raises RunError when the weights have changed.
    """
    import torch

    from pipeline.checkpoint.weights import open_weights, weights_of

    if trained.checkpoint is None:
        now, weights = find(trained.where), open_weights(trained.where)
    else:
        own = trained.held_at(held)
        checkpoint = Checkpoint.open(own if own.exists() else trained.checkpoint)
        now, weights = of_checkpoint(trained.where, checkpoint), weights_of(trained.where, checkpoint)
    if now.weights != trained.weights:
        raise RunError(f"{trained.where}: its weights have changed; run the command again")
    if device == CPU:
        torch.set_num_threads(1)  # the sums of a product depend on how many threads share it
        place = torch.device("cpu")
    else:
        place = torch.device(device, _number() % torch.cuda.device_count())
    return weights.model().to(place, getattr(torch, DTYPES[dtype]))


def _number() -> int:
    """Number of this process among those that its parent has started, from 0."""
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return int(number) - 1 if number.isdecimal() else 0
