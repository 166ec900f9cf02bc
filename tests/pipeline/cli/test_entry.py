"""The script that pip installs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.cli import heed_ctrl_c


def test_ctrl_c_while_the_commands_are_imported_is_one_line(tmp_path: Path) -> None:
    """In place of a library that they import, one that sends the signal."""
    (tmp_path / "typer.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nwhile True: 0\n"
    )
    ended = subprocess.run(
        [Path(sys.executable).with_name("outbound"), "corpus", "--help"],
        env={"PYTHONPATH": str(tmp_path)},
        preexec_fn=heed_ctrl_c,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (130, "stopped before it began\n")
