"""Every command of the README and of docs/ works, in the order of its page.

Each page has a reader's directory of its own, so one alone can be tested: `pytest tests/e2e -k training`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataprep.shards.text_shards import read_documents
from pipeline.demo.library import rendered
from pipeline.demo.sites import build
from pipeline.demo.web import EmbeddedWeb
from support.pages import REPOSITORY, block, commands
from support.servers import wandb
from support.servers.pywb import index_warcs

pytestmark = pytest.mark.slow(120)

PAGES = [
    "README.md",
    "docs/corpus.md",
    "docs/selection.md",
    "docs/importing.md",
    "docs/models.md",
    "docs/plan.md",
    "docs/scale.md",
    "docs/training.md",
    "docs/monitoring.md",
    "docs/evaluation.md",
    "docs/finetuning.md",
    "docs/workers.md",
]
NEEDS_SLURM = "docs/slurm.md"
"""`tests/cluster` runs its commands."""
GIVEN = {
    "docs/selection.md": {"mine": "demo/corpus"},
    "docs/training.md": {"tokens": "demo/tokens"},
    "docs/monitoring.md": {"tokens": "demo/tokens"},
    "docs/workers.md": {"mine": "demo/corpus"},
}
"""What a reader has made with another page before, and what of the demo stands in for it."""


@pytest.fixture(scope="session")
def prepared(root: Path, result: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, the dumps by the names that the pages use, configs, evaluation sets. Copy it."""
    desk = tmp_path_factory.mktemp("desk")
    shutil.copytree(root, desk / "demo")
    shutil.copytree(REPOSITORY / "configs", desk / "configs")
    for dump in (root / "dumps").iterdir():
        shutil.copyfile(dump, desk / dump.name)
    raw = (json.dumps({"text": " ".join(f"offer{n * m % 89}" for m in range(40))}) for n in range(1, 60))
    (desk / "raw-pages.jsonl").write_text("\n".join(raw))
    (desk / "evals").mkdir()
    (desk / "evals" / "quiz.tsv").write_text("Which value does the call return?\tthe second one\n")
    (desk / "capitals.yaml").write_text(block("docs/evaluation.md", "yaml"))
    (desk / "questions").mkdir()
    (desk / "questions" / "capitals.jsonl").write_text(block("docs/evaluation.md", "json"))
    (desk / "reviews.yaml").write_text(block("docs/finetuning.md", "yaml"))
    (desk / "reviews").mkdir()
    for part in ("train", "dev", "test"):
        (desk / "reviews" / f"{part}.tsv").write_text(block("docs/finetuning.md", "text"))
    _archive(root, desk)
    return desk


@pytest.fixture
def desk(prepared: Path, tmp_path: Path) -> Path:
    """A reader's directory."""
    return shutil.copytree(prepared, tmp_path / "desk")


def _archive(root: Path, desk: Path) -> None:
    """What docs/importing.md imports: the demo's pages as an archive with its index, books, and articles."""
    archive, novels = desk / "crawl", desk / "novels"
    archive.mkdir()
    novels.mkdir()
    for warc in (root / "corpus").glob("increments/0001-*/pages/*.warc.gz"):
        shutil.copyfile(warc, archive / warc.name)
    index_warcs(desk / "index.cdxj", archive)
    texts = [
        doc["text"] for tar in (root / "corpus").glob("builds/*/*/shard/*.tar") for doc in read_documents(tar)
    ]
    for number in range(3):
        (novels / f"novel-{number}.txt").write_text("\n\n".join(texts[number::3]))
    (desk / "articles.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page: str, desk: Path) -> None:
    assert len(commands(page)) >= 2
    for name, original in GIVEN.get(page, {}).items():
        shutil.copytree(desk / original, desk / name)
    sites = build(rendered(desk / "demo" / "web" / "pages.jsonl", True))
    with EmbeddedWeb(sites) as web, wandb.serving() as weights_and_biases:
        # the pages' links lead to this machine here; everything else is as printed
        crawl = f"--contact you@example.org --allow-loopback --connect-to {web.connect_to} --delay 0"
        for command in commands(page):
            words = shlex.split(command.replace("--contact you@example.org", crawl))
            assert words[0] == "outbound"
            ended = subprocess.run(
                [sys.executable, "-m", "pipeline.cli.main", *words[1:]],
                cwd=desk,
                env={**os.environ, **weights_and_biases.environment, "PYTHONPATH": str(REPOSITORY)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, f"{command}\n{ended.stderr[-3000:]}"


def test_the_readme_leads_to_every_page() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    pages = [f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")]
    assert [page for page in pages if f"({page})" not in readme] == []
    assert {page for page in pages if commands(page)} - {NEEDS_SLURM} <= set(PAGES)


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert len(targets) == 2
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
