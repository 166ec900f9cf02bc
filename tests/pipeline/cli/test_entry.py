"""The script that pip installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import heed_ctrl_c

REPOSITORY = Path(__file__).parents[3]
SCRIPT = str(Path(sys.executable).with_name("outbound"))


def outbound(*command: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PYTHONPATH": f"{path}{os.pathsep}{REPOSITORY}"},
        preexec_fn=heed_ctrl_c,
        capture_output=True,
        text=True,
        check=False,
    )


def test_ctrl_c_while_the_commands_are_imported_is_one_line(tmp_path: Path) -> None:
    """In place of a library that they import, one that sends the signal."""
    (tmp_path / "typer.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nwhile True: 0\n"
    )
    ended = outbound(SCRIPT, "corpus", "--help", path=tmp_path)
    assert (ended.returncode, ended.stderr) == (130, "stopped before it began\n")


LOST = """
import os, signal, time, weakref

class Thing:
    def __del__(self):
        if {place!r} == "__del__":
            interrupt()

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)

def lose():
    thing = Thing()
    reference = weakref.ref(thing, interrupt if {place!r} == "weakref" else None)
    del thing
    time.sleep(30)
    raise SystemExit("the signal is lost")
"""
"""Interrupts itself where Python prints an exception and ignores it."""


@pytest.mark.slow(2)
@pytest.mark.parametrize("place", ["weakref", "__del__"])
def test_ctrl_c_where_python_ignores_exceptions_is_heeded(tmp_path: Path, place: str) -> None:
    """While the commands are imported, and while one runs."""
    (tmp_path / "losing.py").write_text(LOST.format(place=place))
    (tmp_path / "typer.py").write_text("import losing; losing.lose()\n")
    ended = outbound(SCRIPT, "corpus", "--help", path=tmp_path)
    assert (ended.returncode, ended.stderr) == (130, "stopped before it began\n")

    (tmp_path / "typer.py").unlink()
    code = "import losing; from pipeline.cli import main; main.app = losing.lose; main.main()"
    ended = outbound(sys.executable, "-c", code, path=tmp_path)
    assert (ended.returncode, ended.stderr) == (130, "stopped; the same command goes on from here\n")
