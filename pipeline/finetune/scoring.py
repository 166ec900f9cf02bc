"""A fine-tuned model on its test set: predictions-test.tsv, and the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.distributed.device import find_device
from pipeline.errors import UsageError
from pipeline.finetune import tuned
from pipeline.finetune.data import Encoded, read
from pipeline.finetune.group import Group
from pipeline.finetune.page import write_report
from pipeline.finetune.predict import predict
from pipeline.finetune.predictions import path_of, write_predictions
from pipeline.finetune.record import read as read_record
from pipeline.finetune.record import seeds_of
from pipeline.finetune.results import read_results, write_results
from pipeline.finetune.settings import Finetune


def score(seed: Path, data: Path | None = None) -> dict[str, Any]:
    """Predict `finetune.test`, or another file like it, with the model of DIR/seed-N.

    Returns {"model", "test", "examples", "cut", "scores"}. Predictions of its own test set are kept. Raises
    UsageError when there is no test set, DataError for a damaged model or a row that does not fit.
    """
    made = tuned.load(seed)
    path = data or made.settings.test
    if path is None:
        raise UsageError(f"{seed}: its settings name no finetune.test; give a file by --data")
    encoded = Encoded.of(read(path, made.settings), made.transformation, made.targets)
    device = find_device(0, "fp32")
    found = predict(made.model.to(device.type), encoded, made.targets, Group.alone(device))
    if data is None:
        named = made.targets.named(found.values)
        write_predictions(path_of(seed, "test"), encoded.examples, named, found.probabilities)
    return {
        "model": str(seed),
        "test": str(path),
        "examples": len(encoded),
        "cut": encoded.cut,
        "scores": found.scores(encoded.gold, made.settings.metrics),
    }


def renew_results(where: Path) -> None:
    """Write results and page of a fine-tuning anew, with the predictions that its seeds have now.

    Raises RunError when its results are missing or damaged.
    """
    found = [read_record(seed) for seed in seeds_of(where)]
    given = Finetune.model_validate(found[0].config["finetune"])
    settings = given.model_copy(update={"dir": where, "seeds": [each.seed for each in found]})
    write_results(settings, read_results(where).counts["train"], found[0].labels)
    write_report(where)
