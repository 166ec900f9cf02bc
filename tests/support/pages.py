"""The pages of the documentation, and the commands that they show."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def commands(page: str) -> list[str]:
    """The lines after `$ ` in a page's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def block(page: str, language: str) -> str:
    """The first block of a page in a language, such as yaml."""
    found = re.search(rf"```{language}\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL)
    assert found, f"{page} shows no {language}"
    return found[1]
