"""Hostile servers, all crawled at once: each costs one row with the right word, little time, no memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataprep.crawl.outcomes import OUTCOMES
from support.patience import patient
from support.servers.hostile import ANSWERS, ROBOTS, listening

pytestmark = pytest.mark.slow(8)

REPOSITORY = Path(__file__).parents[3]
GROWTH_MB = 64
"""What a crawl may grow by when all servers attack at once; one bomb unpacked would be four times that."""
RIGHT = [(host, right) for host, (_, right) in (ANSWERS | ROBOTS).items()]
SILENCE_S, TOTAL_S = patient(1), patient(3)

CHILD = """
import json, sys, time
from pathlib import Path
import xxhash
from dataprep.crawl.partition import CrawlSettings, Target, fetch_part

job = json.load(sys.stdin)
settings = CrawlSettings.model_validate(job["settings"])

def crawl(name, hosts):
    key = xxhash.xxh3_128_digest
    targets = [Target(f"http://{host}.test/", key(host.encode()), f"{host}.test") for host in hosts]
    rows = fetch_part(name, targets, Path(job["pages"]), settings, lambda _: None)
    return {host: [row.outcome, row.detail] for host, row in zip(hosts, rows, strict=True)}

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

crawl("warm", [f"good-{number}" for number in range(60)])
before, began = peak_mb(), time.monotonic()
rows = crawl("hostile", job["hosts"])
seconds = time.monotonic() - began
json.dump({"rows": rows, "seconds": seconds, "growth_mb": peak_mb() - before}, sys.stdout)
"""


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All hostile servers crawled at once by a process of its own, after as many good ones."""
    everybody = [*ANSWERS, *ROBOTS, "good", *(f"good-{number}" for number in range(60))]
    with listening() as port:
        job = {
            "hosts": [*ANSWERS, *ROBOTS, "good"],
            "pages": str(tmp_path_factory.mktemp("hostile")),
            "settings": {
                "contact": "tests@example.org",
                "allow_loopback": True,
                "connect_to": [f"{host}.test:80:127.0.0.1:{port}" for host in everybody],
                "delay_s": 0,
                "retries": 0,
                "read_timeout_s": SILENCE_S,
                "total_timeout_s": TOTAL_S,
            },
        }
        ended = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=patient(),
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize(("host", "right"), RIGHT)
def test_a_hostile_server_costs_one_row_with_the_right_word(
    crawled: dict[str, Any], host: str, right: str
) -> None:
    outcome, detail = crawled["rows"][host]
    assert outcome in OUTCOMES
    assert outcome in right.split(), detail


def test_the_good_page_among_them_is_fetched(crawled: dict[str, Any]) -> None:
    assert crawled["rows"]["good"] == ["ok", ""]


def test_no_server_holds_the_crawl_up(crawled: dict[str, Any]) -> None:
    assert crawled["seconds"] < 2 * TOTAL_S + patient(10)


def test_no_server_makes_the_crawl_grow(crawled: dict[str, Any]) -> None:
    assert crawled["growth_mb"] < GROWTH_MB
