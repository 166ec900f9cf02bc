"""Where a run is shown at a server of Weights & Biases, without contacting it."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import RunError

CLOUD = "https://api.wandb.ai"


def base_url() -> str:
    """Return the server's address: WANDB_BASE_URL, what `wandb login --host` has written, or W&B's own."""
    settings = configparser.ConfigParser(interpolation=None)
    path = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb") / "settings"
    try:
        settings.read(path)
    except configparser.Error as error:
        raise RunError(f"{path}: {' '.join(str(error).split())}: run `wandb login` again") from None
    written = settings.get("default", "base_url", fallback=CLOUD)
    return (os.environ.get("WANDB_BASE_URL") or written).rstrip("/")


def run_url(base: str, entity: str, project: str, run_id: str) -> str:
    """Where people look at a run.

    >>> run_url(CLOUD, "team", "two words", "abcd1234")
    'https://wandb.ai/team/two%20words/runs/abcd1234'
    """
    site = "https://wandb.ai" if base == CLOUD else base
    return "/".join([site, quote(entity, safe=""), quote(project, safe=""), "runs", quote(run_id, safe="")])
