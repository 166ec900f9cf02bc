"""What a step of a run has read: which samples of the data order, which documents, and where these come from.

The samples are computed, as the run computed them. The hash of the stream, which every step of the metrics
has, shows whether the tokens that stand there now are those that the step has read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep import yaml_settings
from dataprep.pack.manifest import ERASED
from dataprep.pack.positions import Documents
from dataprep.tokenizer import tokenizer
from pipeline.checkpoint import attempts
from pipeline.config import RunConfig
from pipeline.data.loader import sample_hashes
from pipeline.data.skipped import SkippedRanges
from pipeline.data.sources import Samples, Sources
from pipeline.errors import RunError, UsageError
from pipeline.monitor.run_files import METRICS, joined_metrics, whole_lines
from pipeline.train.schedule import batch_of

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A document, or a part of it, in a sample: `tokens` of it, from its token `first` on.

    sample: its number in the step, from 0. distinct: different ids among these tokens. start: where the piece
    begins in the stream of the source. doc_id: "" of what was forgotten. text: its beginning, if asked for.
    """

    sample: int
    source: str
    doc_id: str
    first: int
    tokens: int
    distinct: int
    start: int
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class TracedStep:
    """A step as its metrics have it, and all that it has read. same: whether the tokens are unchanged."""

    metrics: Row
    samples: int
    pieces: list[Piece]
    same: bool


def traced_step(run: Path, step: int, show_tokens: int = 0) -> TracedStep:
    """What a step has read, of the run as it stands; show_tokens: decode so many tokens of each piece.

    Raises RunError when there is no such run, or its data are gone or streamed, UsageError for a step that it
    has not taken. Memory: the step's tokens, and the table of documents of one shard.
    """
    rows = {row["step"]: row for row in joined_metrics(run) if "batch" in row}
    if step not in rows:
        have = f"it has taken steps {min(rows)} to {max(rows)}" if rows else "it has taken none yet"
        raise UsageError(f"--step {step}: {run} as it stands has no such step; {have}")
    config = _config(run)
    if config.data.stream:
        raise RunError(
            f"{run}: data.stream reads shards rank by rank; only steps of mapped shards are traced"
        )
    sources = Sources.load(config.data.sources())
    chosen = Samples.of(sources, config.model.n_ctx, config.run.seed, config.data.order_block_sequences)
    after = rows[step]["tokens"] // config.model.n_ctx
    numbers = np.arange(after - rows[step]["batch"], after)
    places = _skipped(run, config).positions(numbers)
    tokens = chosen.rows(places)
    read = sum(sample_hashes(places.tolist(), tokens))
    before = int(rows[step - 1]["stream_hash"], 16) if step > 1 and step - 1 in rows else 0
    return TracedStep(
        metrics=rows[step],
        samples=len(numbers),
        pieces=_pieces(sources, chosen, places, tokens, show_tokens),
        same=(before + read) % 2**64 == int(rows[step]["stream_hash"], 16),
    )


def _config(run: Path) -> RunConfig:
    """The configuration of the attempt that owns a run."""
    path = attempts.latest_file(run, "config.yaml")
    if path is None:
        raise RunError(f"{run}: has no config.yaml in its newest attempt; restore it from a copy")
    return yaml_settings.checked(RunConfig, yaml_settings.read(path, "a run's sections"), str(path))


def _skipped(run: Path, config: RunConfig) -> SkippedRanges:
    """The ranges of the data order that the run as it stands has skipped, replayed from its metrics.

    A checkpoint has those of the rollbacks before it. So of an attempt that another one has resumed from,
    those count that came before the step of that checkpoint. Skipping changes no step before the rollback.
    """
    skipped, samples_after = SkippedRanges(), {0: 0}
    for link in reversed(attempts.chain(run)):
        rows = whole_lines(attempts.folder(run, link.number) / METRICS)
        ends = [place for place, row in enumerate(rows) if row.get("step") == link.until and "batch" in row]
        counting = len(rows) if link.until is None else max(ends, default=-1) + 1
        for row in rows[:counting]:
            if rollback := row.get("rollback"):
                before = samples_after[rollback["from"] - 1]
                end = before + batch_of(config, before)
                skipped = skipped.skipping(samples_after[rollback["to"]], end)
            elif "batch" in row:
                samples_after[row["step"]] = row["tokens"] // config.model.n_ctx
    return skipped


def _pieces(
    sources: Sources,
    chosen: Samples,
    places: npt.NDArray[np.int64],
    tokens: npt.NDArray[Any],
    show_tokens: int,
) -> list[Piece]:
    """The documents in each sample, in the order of the samples. tokens: (samples, n_ctx + 1)."""
    found = list[Piece]()
    names, of_sample = list(sources.by_name), chosen.places(places)
    encoder = tokenizer.load(sources.tokenizer) if show_tokens else None
    for source, name in enumerate(names):
        generation = sources.by_name[name].generation
        documents = Documents(generation.directory, generation.content, "train")
        here = np.flatnonzero(of_sample[0] == source)
        for sample in here[np.argsort(of_sample[1][here])].tolist():  # shard by shard
            start = int(of_sample[1][sample])
            for span in documents.within(start, start + tokens.shape[1]):
                first, end = max(span.start, start), min(span.end, start + tokens.shape[1])
                ids = tokens[sample, first - start : end - start]
                found.append(
                    Piece(
                        sample=sample,
                        source=name,
                        doc_id="" if span.doc_id == ERASED else span.doc_id.hex(),
                        first=first - span.start,
                        tokens=end - first,
                        distinct=len(np.unique(ids)),
                        start=first,
                        text=encoder.decode(ids[:show_tokens].tolist()) if encoder else None,
                    )
                )
    return sorted(found, key=lambda piece: (piece.sample, piece.start))
