"""What checkpoints write is added whole to the attempt's samples."""

from __future__ import annotations

import resource
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RunError
from pipeline.inference import generate
from pipeline.monitor.run_files import SAMPLES, whole_lines
from pipeline.monitor.samples import write
from support.written_runs import WrittenRun


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WrittenRun:
    """A run whose checkpoints, of steps 4, 8 and so on, all write the same."""
    steps = count(4, 4)

    def generated(where: Path, prompts: list[str], *how: Any) -> dict[str, Any]:
        return {"step": next(steps), "texts": [{"prompt": prompt, "text": " end"} for prompt in prompts]}

    monkeypatch.setattr(generate, "generate_texts", generated)
    written = WrittenRun(tmp_path / "run")
    (written.current.folder / "config.yaml").write_text("train: {prompts: [the, a]}\n")
    return written


def test_a_disk_that_was_full_cuts_no_line(run: WrittenRun) -> None:
    folder = run.current.folder
    write(run.dir, folder)
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / SAMPLES).stat().st_size + 10, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(run.dir, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write(run.dir, folder)
    assert [row["step"] for row in whole_lines(folder / SAMPLES)] == [4, 4, 12, 12]


def test_an_attempt_takes_no_sample_of_its_successors_checkpoint(run: WrittenRun) -> None:
    folder = run.current.folder
    run.attempt(0)
    with pytest.raises(RunError, match=r"attempt 2 on .* has taken over"):
        write(run.dir, folder)
    assert not (folder / SAMPLES).exists()
