"""A login node of a cluster, and the demo's corpus as one machine makes it, to compare with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.demo.dumps import write_dumps
from pipeline.demo.library import rendered
from pipeline.demo.sites import build
from pipeline.demo.web import EmbeddedWeb
from support.fetched_corpus import files
from support.pages import REPOSITORY
from support.patience import patient, wait_until
from support.slurm_cluster import Cluster

LOGIN = Path(sys.executable)


@dataclass(frozen=True)
class Demo:
    """The demo's dump and web, while this is served; and its corpus as far as some steps, by their names."""

    home: Path
    dump: Path
    web: EmbeddedWeb
    corpora: dict[str, Path]


@contextmanager
def made(home: Path) -> Iterator[Demo]:
    """Make the demo's corpus by one command on this machine."""
    sites = build(rendered(home / "pages.jsonl", True))
    dump, _ = write_dumps(sites.links, home)
    with EmbeddedWeb(sites) as web:
        crawl = {"contact": "you@example.org", "allow_loopback": True, "connect_to": [web.connect_to]}
        (home / "fast.yaml").write_text(yaml.safe_dump(crawl | {"delay_s": 0}))
        (home / "slow.yaml").write_text(yaml.safe_dump(crawl | {"delay_s": 60}))
        demo = Demo(home, dump, web, {step: home / f"until {step}" for step in ("fetch", "extract", "shard")})
        one = home / "one"
        recipe = yaml.safe_load((REPOSITORY / "configs" / "corpora" / "demo.yaml").read_text())
        recipe["collect"]["partition_mb"] = 0.06  # so that every worker of a cluster has a part
        (home / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        outbound(home, os.environ, "corpus", "init", one, "--recipe", "recipe.yaml")
        for step, corpus in demo.corpora.items():
            outbound(home, os.environ, "corpus", "add", one, dump, "--crawl", "fast.yaml", "--until", step)
            shutil.copytree(one, corpus)
        yield demo


def outbound(home: Path, environment: Any, *words: object, code: int = 0) -> str:
    """What a command prints on stdout; it must end with this code."""
    ended = run(home, environment, *words)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout


def run(home: Path, environment: Any, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is."""
    return subprocess.run(
        [LOGIN.with_name("outbound"), *map(str, words)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(),
    )


class Desk:
    """The login node of a cluster."""

    def __init__(self, demo: Demo, slurm: Cluster, name: str) -> None:
        self.home, self.demo, self.slurm = demo.home, demo, slurm
        self.environment = slurm.environment | {"XDG_STATE_HOME": str(self.home / f"state of {name}")}

    def run(self, *words: object, code: int = 0, **environment: str) -> str:
        """What a command prints on stdout; it must end with this code."""
        return outbound(self.home, self.environment | environment, *words, code=code)

    def result(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))

    def corpus(self, name: str, until: str) -> Path:
        """A corpus that one machine has brought so far."""
        shutil.copytree(self.demo.corpora[until], self.home / name)
        return self.home / name

    def queue(self) -> list[str]:
        return self.slurm.ask("squeue", "-h", "-r", "-o", "%i %T %r").splitlines()

    def wait_until_ended(self) -> None:
        wait_until(lambda: not self.queue(), "the end of all jobs", 0.5)


def log(submitted: Any) -> str:
    """All that the jobs of a submission have written."""
    return "\n".join(path.read_text() for path in sorted(Path(submitted["logs"]).glob("*.log")))


def assert_equal(corpus: Path, other: Path) -> None:
    """Both are the same, file by file and byte for byte."""
    these, those = files(corpus), files(other)
    differing = [name for name in {*these, *those} if these.get(name) != those.get(name)]
    assert not differing, differing
