"""Ctrl-C, pressed once or twice, ends a crawl soon and in one line, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Recipe
from support.cli import heed_ctrl_c, run
from support.patience import patient

pytestmark = pytest.mark.slow(10)

PAGES = 12


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("presses", [1, 2])
def test_a_crawl_that_is_interrupted_says_so_and_goes_on(
    site: Any, tmp_path: Path, workers: int, presses: int
) -> None:
    urls = [site.html(f"http://stop-{n % 3}.test/{n}") for n in range(PAGES)]
    posts = [{"id": f"p{n}", "url": url, "created_utc": n, "score": 9} for n, url in enumerate(urls)]
    (tmp_path / "dump.json").write_text("\n".join(json.dumps(post | {"subreddit": "x"}) for post in posts))
    Corpus.create(tmp_path / "corpus", Recipe(name="stop"))
    words = ["corpus", "add", tmp_path / "corpus", tmp_path / "dump.json", "--allow-loopback", "--delay=0.3"]
    words += [f"--connect-to=::127.0.0.1:{site.port}", f"--workers={workers}"]
    asked = threading.Event()
    site.on_hit = asked.set

    command = [sys.executable, "-m", "pipeline.cli.main", *map(str, words)]
    child = subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asked.wait(patient())
    for _ in range(presses):
        os.killpg(child.pid, signal.SIGINT)
    said = child.communicate(timeout=patient())[1]
    assert (child.returncode, said.count("stopped; the same"), said.count("Traceback")) == (130, 1, 0), said

    site.on_hit = lambda: None
    ended = run(*words)
    assert ended.returncode == 0, ended.stderr
    (increment,) = Corpus.open(tmp_path / "corpus").increments()
    assert [record.reasons for record in increment.records("fetch")] == [{}]
    assert sum(record.passed for record in increment.records("fetch")) == PAGES
