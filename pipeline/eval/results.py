"""The files of an evaluation: `results.json`, and `samples/TASK.jsonl.zst` with a row a document.

`results.json` has lm-eval's layout, where a task's name is TASK/SHOTS/PROTOCOL and each metric's filter is
`none`, and the parts of `pipeline.monitor.evaluations.Results` beside it. The same documents give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from backports import zstd

from dataprep.store import files
from pipeline.eval.documents import Document
from pipeline.eval.intervals import RESAMPLES
from pipeline.eval.overlapped import Overlap
from pipeline.eval.scores import Outcome, caveats, scores
from pipeline.monitor.evaluations import RESULTS, SAMPLES, ModelFacts, Results


def write_results(
    folder: Path,
    outcomes: Sequence[Outcome],
    *,
    model: ModelFacts,
    sets: dict[str, str],
    seed: int,
    limit: int | None,
    software: dict[str, str],
    overlap: Overlap | None = None,
    unaskable: dict[str, str] | None = None,
) -> Results:
    """Write the files of an evaluation; `results.json` comes last, so that it stands for all.

    sets: hash of each file. software: versions by name, such as lm-eval. overlap: what the corpus holds.
    Raises ValueError when two outcomes are of the same task, shots and protocol.
    """
    ordered = sorted(outcomes, key=lambda each: (each.task.name, each.shots, each.protocol))
    if len({outcome.key for outcome in ordered}) < len(ordered):
        raise ValueError(f"two outcomes have one key: {[outcome.key for outcome in ordered]}")
    results = Results(
        model=model,
        scores=tuple(
            score for outcome in ordered for score in scores(outcome, overlap, model.non_embedding, seed)
        ),
        configs={outcome.key: _config(outcome) for outcome in ordered},
        caveats={outcome.key: caveats(outcome) for outcome in ordered},
        sets=sets,
        seed=seed,
        limit=limit,
        software=software,
        unaskable=unaskable or {},
    )
    for task, of_task in groupby(ordered, key=lambda outcome: outcome.task.name):
        rows = b"".join(_row(outcome, *each) for outcome in of_task for each in enumerate(outcome.documents))
        files.replace(folder / SAMPLES / f"{task}.jsonl.zst", zstd.compress(rows))
    whole = as_lm_eval(results, ordered) | msgspec.structs.asdict(results)
    written = msgspec.json.encode(whole, order="sorted")
    files.replace(folder / RESULTS, msgspec.json.format(written, indent=1) + b"\n")
    return results


def as_lm_eval(results: Results, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The part of the file that lm-eval's `EvalResults` describes."""
    counts = {each.key: {"original": each.examples, "effective": len(each.documents)} for each in outcomes}
    own: dict[str, dict[str, Any]] = {
        key: {"alias": key, "name": key, "sample_len": count["effective"]} for key, count in counts.items()
    }
    better: dict[str, dict[str, bool]] = {key: {} for key in own}
    for score in results.scores:
        values = {f"{score.measure},none": score.value, f"{score.measure}_stderr,none": score.stderr}
        own[score.key] |= values
        better[score.key][score.measure] = score.higher_is_better
    return {
        "results": own,
        "configs": results.configs,
        "versions": {key: results.software.get("outbound-gpt") for key in own},
        "n-shot": {each.key: each.shots for each in outcomes},
        "n-samples": counts,
        "higher_is_better": better,
        "config": {
            "model": "outbound",
            "model_args": results.model.run,
            "model_num_parameters": results.model.parameters,
            "model_dtype": results.model.dtype,
            "model_sha": results.model.weights,
            "limit": results.limit,
            "bootstrap_iters": RESAMPLES,
            "fewshot_seed": results.seed,
        },
        "lm_eval_version": results.software.get("lm-eval"),
        "model_name": results.model.run,
    }


def _config(outcome: Outcome) -> dict[str, Any]:
    """How a task was asked: what two evaluations must agree on before they can be compared."""
    task = outcome.task
    return {
        "task": task.name,
        "family": task.family,
        "source": task.source,
        "reader": task.reader,
        "num_fewshot": outcome.shots,
        "protocol": outcome.protocol,
        **outcome.asked.model_dump(mode="json"),
    }


def _row(outcome: Outcome, number: int, document: Document) -> bytes:
    example = document.example
    row = {
        "doc_id": number,
        "shots": outcome.shots,
        "protocol": outcome.protocol,
        "key": example.key,
        "unit": example.unit,
        "file": example.file,
        "line": example.line,
        "shown": document.shown,
        "values": {name: [float(each) for each in numbers] for name, numbers in document.values.items()},
        "sample": document.sample,
    }
    return msgspec.json.encode(row) + b"\n"
