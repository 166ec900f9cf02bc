"""A disk that fills up in any stage is told in one line and costs nothing that is finished.

The disk is a tmpfs of some hundred KB in a mount namespace of its own.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Recipe, Select
from dataprep.crawl.rounds import outcomes
from support.cli import result

REPOSITORY = Path(__file__).parents[3]
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
STEP_KB = 160

SCRIPT = """
set -e
mkdir -p disk
mount -t tmpfs -o size=4m none disk
cp -r corpus disk/
used=$(du -sk disk | cut -f1)
failures=0
for more in $(seq 4 {step} 4000); do
  mount -o remount,size=$((used + more))k disk
  if {command} > out.txt 2> err.txt; then break; fi
  failures=$((failures + 1))
  cat err.txt >> errors.txt
  grep -q 'make room' err.txt || {{ cat err.txt; exit 1; }}
  ! grep -q Traceback err.txt
done
echo $failures > failures.txt
cp -r disk grown
"""


def possible() -> bool:
    """Whether this user may mount a tmpfs in a namespace."""
    if not shutil.which("unshare"):
        return False
    probe = ["sh", "-c", "mkdir -p /tmp/outbound-probe && mount -t tmpfs none /tmp/outbound-probe"]
    return subprocess.run([*UNSHARE, *probe], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow(20),
    pytest.mark.skipif(not possible(), reason="this user may not mount a tmpfs here"),
]


@pytest.fixture(scope="module")
def crawled(shared_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`new`, an empty corpus; `corpus`, the same when its pages are fetched, and no more; `dump.json`."""
    desk = tmp_path_factory.mktemp("desk")
    rng, posts = random.Random(1), []
    words = [f"{a}{b}" for a in "bcdfghjklmnpqrstvwxz" for b in ("arbour", "inter", "oat", "antern", "arket")]
    for n in range(30):
        text = " ".join(rng.choices(words, k=2500))
        page = f"<html><body><article><p>{text}</p></article></body></html>"
        url = shared_site.html(f"http://full-{n % 3}.test/{n}", page)
        posts.append({"id": str(n), "url": url, "score": 9, "created_utc": n, "subreddit": "x"})
    (desk / "dump.json").write_text("\n".join(map(json.dumps, posts)))
    recipe = Recipe(name="full", collect=Collect(partition_mb=0.05), select=Select(shard_mb=0.1))
    Corpus.create(desk / "new", recipe)
    shutil.copytree(desk / "new", desk / "corpus")
    result("corpus", "add", desk / "corpus", desk / "dump.json", "--until", "fetch", *crawl(shared_site))
    return desk


def crawl(site: Any) -> list[str]:
    return ["--allow-loopback", f"--connect-to=::127.0.0.1:{site.port}", "--delay=0", "--workers=1"]


def grown(desk: Path, *command: str, step_kb: int = STEP_KB) -> int:
    """Run a command on a disk that gets `step_kb` more each time it is full; how often it was."""
    line = " ".join([sys.executable, "-m", "pipeline.cli.main", *command])
    script = SCRIPT.format(step=step_kb, command=line)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        [*UNSHARE, "bash", "-c", script],
        cwd=desk,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return int((desk / "failures.txt").read_text())


def met_by(desk: Path) -> list[Path]:
    """The files for which there was no room, relative to the desk, as the errors name them."""
    return [Path(name) for name in re.findall(r"^error: (.+?): ", (desk / "errors.txt").read_text(), re.M)]


def tree(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith(".part")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_a_full_disk_loses_no_link_and_no_page(crawled: Path, shared_site: Any, tmp_path: Path) -> None:
    shutil.copytree(crawled / "new", tmp_path / "corpus")
    shutil.copy(crawled / "dump.json", tmp_path)
    add = ["corpus", "add", "disk/corpus", "dump.json", "--until", "fetch", *crawl(shared_site)]
    assert grown(tmp_path, *add, step_kb=24) >= 3
    met = met_by(tmp_path)
    on_the_way_to_links = [path for path in met if {"work", "links", "index"} & {*path.parts}]
    in_the_crawl = [path for path in met if "pages" in path.parts]
    assert on_the_way_to_links, met
    assert in_the_crawl, met
    corpus, whole = Corpus.open(tmp_path / "grown" / "corpus"), Corpus.open(crawled / "corpus")
    assert outcomes(corpus, corpus.increments()) == {"ok": 30}
    assert list(problems(corpus)) == []
    links = [[each.outputs for each in made.increments()[0].records("links")] for made in (corpus, whole)]
    assert links[0] == links[1]


def test_a_full_disk_loses_nothing_in_any_later_stage(
    crawled: Path, shared_site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the names of dumps are written down as they are given
    shutil.copytree(crawled, tmp_path, dirs_exist_ok=True)
    failures = grown(tmp_path, "corpus", "add", "disk/corpus", "dump.json", *crawl(shared_site))
    assert failures >= 3
    assert [path for path in met_by(tmp_path) if {"extract", "score"} & {*path.parts}]
    result("corpus", "add", tmp_path / "corpus", "dump.json", *crawl(shared_site))
    assert tree(tmp_path / "grown" / "corpus") == tree(tmp_path / "corpus")

    shutil.rmtree(tmp_path / "grown")
    failures = grown(tmp_path, "corpus", "forget", "disk/corpus", "--site", "full-1.test", step_kb=160)
    assert failures >= 2
    result("corpus", "forget", tmp_path / "corpus", "--site", "full-1.test")
    assert tree(tmp_path / "grown" / "corpus") == tree(tmp_path / "corpus")
