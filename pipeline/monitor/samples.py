"""What checkpoints write during training: in a process of its own, since a pipeline engine cannot generate.

It has low priority and no GPU, and reads nothing but the run's directory. One that is not done when the next
checkpoint is saved is let be, and that checkpoint is not sampled.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from dataprep.store import files
from pipeline.checkpoint.attempts import Attempt
from pipeline.errors import RunError
from pipeline.monitor import helper_process
from pipeline.monitor.run_files import SAMPLES, whole_lines

TOKENS = 64
FINISH_TIMEOUT_S = 120.0
"""How long the end of a run waits for its last samples."""

log = logging.getLogger("outbound")


class Sampler:
    """Starts the process after a checkpoint, and brings what it has written."""

    def __init__(self, attempt: Attempt, prompts: list[str]) -> None:
        self._attempt = attempt
        self._log = attempt.folder / "samples.log"
        self._prompts = prompts
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = 0

    def start(self) -> None:
        """A checkpoint has been saved."""
        if not self._prompts or (self._process and self._process.poll() is None):
            return
        hidden = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self._process = helper_process.start(
            __name__,
            str(self._attempt.run),
            str(self._attempt.folder),
            log=self._log,
            environment=environment | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )

    def new(self) -> list[dict[str, Any]]:
        """What has been written since the last time: {"step", "prompt", "text"}."""
        if not self._prompts:
            return []
        rows = whole_lines(self._attempt.folder / SAMPLES)
        new, self._seen = rows[self._seen :], len(rows)
        return new

    def finish(self) -> list[dict[str, Any]]:
        """The last of it, if it comes in time."""
        if self._process:
            try:
                if self._process.wait(FINISH_TIMEOUT_S):
                    log.warning("no samples of the last checkpoint: see %s", self._log)
            except subprocess.TimeoutExpired:
                self._process.kill()
                log.warning("no samples of the last checkpoint: they took more than %g s", FINISH_TIMEOUT_S)
        return self.new()


def write(run: Path, folder: Path) -> None:
    """Let the run's newest checkpoint continue the attempt's prompts; add what it writes to samples.jsonl.

    The file is replaced whole: a line that a full disk or a kill has cut would make the file unreadable.
    Raises RunError when another attempt has taken over, for the newest checkpoint may then be its.
    """
    from pipeline.inference.generate import generate_texts
    from pipeline.inference.settings import Settings

    prompts = yaml.safe_load((folder / "config.yaml").read_text())["train"]["prompts"]
    found = generate_texts(run, prompts, Settings(max_tokens=TOKENS))
    if newer := Attempt(run, int(folder.name)).successor():  # asked last: it may begin at any moment
        raise RunError(newer)
    rows = [
        {"step": found["step"], "prompt": text["prompt"], "text": text["text"]} for text in found["texts"]
    ]
    path = folder / SAMPLES
    before = path.read_bytes() if path.exists() else b""
    files.replace(path, before + "".join(json.dumps(row) + "\n" for row in rows).encode())


if __name__ == "__main__":
    try:
        write(*map(Path, sys.argv[1:]))
    except RunError as error:
        sys.exit(str(error))
