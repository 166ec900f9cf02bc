"""The page of a run shows what its checkpoints score."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.monitor.run_page import evaluation_panels, render
from support.evaluations import lambada, outcome, write
from support.written_runs import WrittenRun


def test_evaluations_of_checkpoints_are_drawn_over_tokens(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    for step in (300, 20):
        write(run.dir / "evaluations" / f"step-{step:08}" / "all", [outcome(), outcome(shots=1)], step=step)
    write(run.dir / "evaluations" / "step-00000300" / "gpt2", [lambada()], step=300)
    trial = outcome(values={"acc": lambda _: [0.0, 1.0]}, count=4)
    write(run.dir / "evaluations" / "step-00000300" / "trial", [trial], step=300, limit=4)
    hellaswag, cloze = evaluation_panels(run.dir)
    assert hellaswag.series == {
        "K = 0, paper": [(20_000, 0.75), (300_000, 0.75)],
        "K = 1, paper": [(20_000, 0.75), (300_000, 0.75)],
    }
    assert (cloze.title, cloze.unit) == ("lambada", "perplexity")
    page, picture = render(run.dir)
    assert ">hellaswag</h2>" in page
    assert "hellaswag: K = 0, paper ends at 0.75" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert picture.startswith(b"\x89PNG")
