"""The checks of a whole run before anything starts or waits, the same on a desk and for a cluster."""

from __future__ import annotations

from pathlib import Path

from dataprep import yaml_settings
from dataprep.errors import UsageError
from pipeline.checkpoint.fitting import why_no_tensors
from pipeline.cli.places import OF_FINETUNINGS, refuse_strangers, refuse_taken
from pipeline.config import RunConfig, check_layout, examine
from pipeline.data.sources import Sources
from pipeline.data.token_stream import check_size
from pipeline.finetune import settings as finetuning
from pipeline.train.resumable import unresumable


def checked_run(
    path: Path, overrides: list[str], processes: int | None, ahead: bool = False
) -> tuple[RunConfig, Sources | None]:
    """Read a run's configuration, and check all that can be checked without a tensor or a device.

    processes: how many will train; None: one a pipeline stage. ahead: the tokens need not be packed yet;
    without them there are no sources. Raises UsageError or RunError that lists every mistake with its place.
    """
    found = examine(path, overrides, ahead)
    found.check(
        "parallel batch", lambda config: check_layout(config, processes or config.parallel.pipeline_stages)
    )
    if "run" in found.sound:
        with found.gather("run.dir"):
            refuse_taken(found.config.run.dir)
    if found.sources is not None:
        with found.gather("data"):
            for generation, shard in found.sources.mapped:
                check_size(generation, shard)
        if found.is_whole:
            count = processes or found.config.parallel.pipeline_stages
            with found.gather():
                found.add(unresumable(found.config, found.sources, count))
    found.refuse()
    return found.config, found.sources


def checked_finetuning(path: Path, overrides: list[str]) -> finetuning.FinetuneConfig:
    """Read a fine-tuning's configuration, and look for its weights and its directory.

    Raises UsageError that lists every mistake, DataError or RunError when the weights are damaged.
    """
    config = finetuning.load_config(path, overrides)
    found = []
    try:
        refuse_strangers(config.finetune.dir, "a fine-tuning", OF_FINETUNINGS)
    except UsageError as error:
        found.append(f"finetune.dir: {error}")
    if (where := config.finetune.init_from) and (reason := why_no_tensors(where)):
        found.append(f"finetune.init_from: {reason}")
    if found:
        raise yaml_settings.refusal(str(path), found)
    return config
