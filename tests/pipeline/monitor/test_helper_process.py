"""Helpers of a run outlive the signal by which Slurm asks a job to stop."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from pipeline.monitor import helper_process
from support.patience import patient


def test_a_helper_is_not_ended_by_the_signal_that_asks_a_job_to_stop(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = helper_process.start("json.tool", log=log, stdin=subprocess.PIPE)
    process.send_signal(signal.SIGUSR1)
    _, _ = process.communicate(b"[1]", timeout=patient())
    assert process.returncode == 0
    assert log.read_text().split() == ["[", "1", "]"]
