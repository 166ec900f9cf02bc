"""One small demo for all end-to-end tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo goes."""
    return tmp_path_factory.mktemp("e2e") / "demo"


@pytest.fixture(scope="session")
def result(root: Path) -> dict[str, Any]:
    """What `outbound demo --small --json` printed, and what it showed on the terminal."""
    command = [sys.executable, "-m", "pipeline.cli.main", "demo", str(root), "--small", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    found: dict[str, Any] = json.loads(ended.stdout)
    return found | {"terminal": ended.stderr}
