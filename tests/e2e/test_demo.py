"""The whole way, small: what `outbound demo` promises holds, and a second call finds nothing to do."""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.demo.sites import FORBIDDEN

pytestmark = pytest.mark.slow(60)


def outbound(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_promise_is_broken(result: dict[str, Any]) -> None:
    assert result["failures"] == []
    assert result["val_loss"] < result["unigram_entropy_nats"]
    assert result["resume_point"]["step"] > 1
    assert 0 < result["scores"]["held_out/bits_per_byte"] < 8
    assert 0 <= result["scores"]["cloze/acc"] <= 1


def test_the_funnel_adds_up_and_shows_every_kind_of_loss(result: dict[str, Any]) -> None:
    reasons: set[str] = set()
    for stage in result["funnel"]:
        assert stage["entered"] == stage["passed"] + sum(stage["reasons"].values())
        reasons |= set(stage["reasons"])
    assert {"self_post", "merged", "below_karma", "already_entered"} <= reasons
    assert {"not_found", "robots_denied", "redirect_loop", "exact_duplicate", "near_duplicate"} <= reasons


def test_the_forbidden_page_was_never_asked_for(root: Path, result: dict[str, Any]) -> None:
    logs = sorted((root / "web").glob("requests-*.jsonl"))
    assert len(logs) == 2
    for log in logs:
        requests = [json.loads(line) for line in log.read_text().splitlines()]
        assert len(requests) > 50
        assert not [request for request in requests if request["path"] == FORBIDDEN]


def test_the_reader_is_shown_every_command(result: dict[str, Any]) -> None:
    shown = [line for line in result["terminal"].splitlines() if line.startswith("$ ")]
    verbs = [" ".join(line.split()[1:4]) for line in shown]
    assert verbs[:4] == ["outbound corpus init", *["outbound corpus add"] * 2, "outbound tokenizer train"]
    assert [verb.split()[1] for verb in verbs[4:]] == ["pack", "train", "-TERM", "train", "generate", "eval"]


def test_the_report_and_everything_else_lies_where_it_is_said_to(root: Path, result: dict[str, Any]) -> None:
    for path in result["paths"].values():
        assert Path(path).exists(), path
    report = (root / "report.html").read_text()
    assert report.count("<svg") == 10
    assert "stopped and resumed" in report


def test_a_second_call_does_nothing_that_is_done(root: Path, result: dict[str, Any]) -> None:
    kept = [*(root / "corpus").rglob("*.warc.gz"), *(root / "run").glob("attempts/*/checkpoints/*/*")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    logs = {log: log.read_bytes() for log in (root / "web").glob("requests-*.jsonl")}
    again = outbound("demo", str(root), "--small", "--json")
    assert again.returncode == 0, again.stderr[-4000:]
    second = json.loads(again.stdout)
    for key in ("funnel", "val_loss", "resume_point", "sample", "scores"):
        assert second[key] == result[key]
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert {log: log.read_bytes() for log in logs} == logs
    assert "outbound train" not in again.stderr


def test_another_s_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    refused = outbound("demo", str(tmp_path), "--fresh")
    assert refused.returncode == 2
    assert "thesis.txt" in [path.name for path in tmp_path.iterdir()]
    assert "Traceback" not in refused.stderr


FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"


def test_every_file_is_described_and_every_description_has_a_file(root: Path, result: dict[str, Any]) -> None:
    rows = [line.split("|")[1] for line in FORMATS.read_text().splitlines() if line.startswith("| `")]
    described = [name for row in rows for name in re.findall("`(.+?)`", row)]
    regular = {
        name: re.compile(re.escape(name).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")) for name in described
    }
    found = [
        path.relative_to(root).as_posix()
        for folder in ("corpus", "tokenizer", "tokens", "run")
        for path in (root / folder).rglob("*")
        if not path.is_dir()
    ]
    assert [path for path in found if not any(each.fullmatch(path) for each in regular.values())] == []
    assert [name for name, each in regular.items() if not any(map(each.fullmatch, found))] == []


def test_the_columns_of_every_table_are_described(root: Path, result: dict[str, Any]) -> None:
    listed = {
        title: re.findall("`(.+?)`", columns)
        for title, columns in re.findall(r"### (\w+)\n\n.*?(?:Columns|Keys): (.+)\.", FORMATS.read_text())
    }
    increment, build = (
        next((root / "corpus/increments").iterdir()),
        next((root / "corpus/builds").glob("*/*/")),
    )
    tables = {
        "Links": increment / "links",
        "Fetches": increment / "fetch",
        "Documents": increment / "extract",
        "Scores": increment / "score",
        "Verdicts": build / "verdicts",
    }
    for title, folder in tables.items():
        names = pq.read_schema(next(folder.glob("*.parquet"))).names
        if title == "Scores":  # the measurements are not listed one by one
            names = [name for name in names if not name.startswith(("gopher_", "c4_", "fineweb_"))]
        assert listed[title] == names
    with tarfile.open(next((build / "shard").glob("*.tar"))) as tar:
        content = tar.extractfile(next(name for name in tar.getnames() if name.endswith(".json")))
        assert content is not None
        assert listed["Provenance"] == [*json.load(content)]
