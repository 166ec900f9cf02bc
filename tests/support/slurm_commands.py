"""Stand-ins for Slurm's commands: they note what they are told, and answer what a test says."""

from __future__ import annotations

from pathlib import Path

import pytest

COMMANDS = {
    "sbatch": (
        "number=$(($(cat $here/last) + 1)); echo $number > $here/last\n"
        "cat > $here/$number.sbatch\n"
        'if grep -q -- "$(cat $here/refused)" $here/$number.sbatch; then echo "no such" >&2; exit 1; fi\n'
        "echo $number"
    ),
    "squeue": "cat $here/queue",
    "scancel": 'echo "$@" >> $here/cancelled',
}


class SlurmCommands:
    """Commands in a folder that is searched before all others; the first job is 812."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for name, body in COMMANDS.items():
            (folder / name).write_text(f"#!/bin/sh\nhere='{folder}'\n{body}\n")
            (folder / name).chmod(0o755)
        (folder / "last").write_text("811\n")
        self.refuse("nothing of the kind")
        self.queue()
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))

    def refuse(self, words: str) -> None:
        """Let sbatch refuse scripts that hold these words."""
        (self.folder / "refused").write_text(words)

    def queue(self, *tasks: str) -> None:
        """Let squeue answer these lines: task|name|state|reason."""
        (self.folder / "queue").write_text("".join(f"{task}\n" for task in tasks))

    def script(self, number: int) -> str:
        """What was submitted as this job."""
        return (self.folder / f"{number}.sbatch").read_text()

    @property
    def cancelled(self) -> list[str]:
        """The words that scancel was given, call by call."""
        path = self.folder / "cancelled"
        return path.read_text().splitlines() if path.exists() else []
