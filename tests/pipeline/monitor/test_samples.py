"""What checkpoints write is added whole to the attempt's samples."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from pipeline.inference import generate
from pipeline.monitor.run_files import SAMPLES, whole_lines
from pipeline.monitor.samples import write


def test_a_disk_that_was_full_cuts_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([4, 8, 12])

    def generated(run: Path, prompts: list[str], *how: Any) -> dict[str, Any]:
        return {"step": next(steps), "texts": [{"prompt": prompt, "text": " end"} for prompt in prompts]}

    monkeypatch.setattr(generate, "generate_texts", generated)
    (tmp_path / "config.yaml").write_text("train: {prompts: [the, a]}\n")
    write(tmp_path, tmp_path)
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / SAMPLES).stat().st_size + 10, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write(tmp_path, tmp_path)
    assert [row["step"] for row in whole_lines(tmp_path / SAMPLES)] == [4, 4, 12, 12]
