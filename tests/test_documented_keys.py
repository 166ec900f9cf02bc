"""The tables of `docs/configuration.md` are those of the models.

To accept changes: OUTBOUND_GOLDEN=write pytest tests/test_documented_keys.py
"""

from __future__ import annotations

import os
from pathlib import Path

from support import cli

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_the_page_has_the_keys_of_the_code() -> None:
    prose, _, _ = PAGE.read_text().partition("\n## ")
    page = f"{prose.rstrip()}\n\n{cli.run('config', 'reference').stdout}"
    if os.environ.get("OUTBOUND_GOLDEN") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page


def test_every_key_has_a_meaning() -> None:
    found = cli.result("config", "reference")
    assert {"run", "recipe", "cluster"} < found.keys()
    assert [key["name"] for rows in found.values() for key in rows if not key["meaning"]] == []


def test_one_kind_of_file_is_chosen_by_its_name() -> None:
    assert [*cli.result("config", "reference", "crawl")] == ["crawl"]
    refused = cli.run("config", "reference", "crawls")
    assert refused.returncode == 2
    assert "crawls is none of run, finetune, texts, recipe, crawl" in refused.stderr
