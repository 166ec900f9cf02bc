"""A run's directory: one training at a time, and what it holds from the start."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataprep.store import files
from pipeline.config import RunConfig, save_config
from pipeline.data.sources import Sources
from pipeline.errors import RunError
from pipeline.monitor.metrics_logger import keep_funnel, wandb_id


@contextmanager
def claim(run: Path) -> Iterator[None]:
    """Hold the run directory alone; raises RunError when another training holds it."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise RunError(
                f"{run}: another process trains here; stop it, or choose another run.dir"
            ) from None
        yield


def prepare(config: RunConfig, sources: Sources) -> str:
    """Write configuration, tokenizer and funnel; return the W&B id."""
    run = config.run.dir
    (run / "summary.json").unlink(missing_ok=True)
    save_config(config, run / "config.yaml")
    if sources.tokenizer.is_dir():  # a copy, so that the run can generate text by itself
        for path in sources.tokenizer.glob("[!.]*"):
            files.write_once(run / "tokenizer" / path.name, path.read_bytes())
    keep_funnel(run, sources)
    return wandb_id(run)
