"""`outbound wandb-sync` against a server on loopback that has the habits of a real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.errors import RunError
from pipeline.monitor import wandb_server, wandb_sync
from pipeline.monitor.generated import keep
from pipeline.monitor.wandb_address import base_url
from pipeline.monitor.wandb_server import RETRIES, TryLater, api_key
from pipeline.monitor.wandb_sync import WandbSync
from support import cli
from support.evaluations import outcome, write
from support.patience import patient
from support.servers.wandb import API_KEY, Run, WandbServer
from support.written_runs import ID, WrittenRun, complete


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    return WrittenRun(tmp_path / "zwei Läufe")


@pytest.mark.slow(1)
def test_several_attempts_and_a_spike_are_one_history(run: WrittenRun, server: WandbServer) -> None:
    run.steps(6)
    run.evaluation()
    run.steps(2)
    run.attempt(6)
    run.steps(9)
    run.roll_back(12)
    run.steps(5)
    run.evaluation()
    assert cli.result("wandb-sync", run.dir)["runs"] == [
        {
            "run": str(run.dir),
            "url": f"{server.base}/team/links/runs/{ID}",
            "sent": 16,
            "last_step": 16,
            "undone": "",
            "evaluations": 0,
        }
    ]
    assert server.run.exit_code is None, "the run may go on"
    run.end()
    assert cli.result("wandb-sync", run.dir)["runs"][0]["sent"] == 1
    complete(run, server)
    assert server.run.exit_code == 0
    assert cli.result("wandb-sync", run.dir)["runs"][0]["sent"] == 0
    assert len(server.run.received) == 17, "nothing was sent twice"
    assert server.run.name == "zwei Läufe"
    assert server.run.config["run"] == {"value": {"seed": 3}}
    assert server.run.config["_wandb"]["value"]["m"][1]["5"] == 1, "the tokens are the x-axis"
    assert server.run.summary["val_loss"] == run.rows


@pytest.mark.slow(2)
def test_an_evaluation_goes_to_the_line_of_its_step_while_the_run_goes_on_and_after_its_end(
    run: WrittenRun, server: WandbServer
) -> None:
    run.steps(6)
    sync = WandbSync(run.dir)
    sync.update()
    folder = run.dir / "evaluations"
    write(folder / "step-00000003" / "all", [outcome(), outcome(shots=1)], step=3)
    sync.update()
    run.steps(2)
    run.end()
    sync.update()
    write(folder / "step-00000008" / "all", [outcome(values={"acc": lambda n: [1.0, 1.0]})], step=8)
    write(folder / "step-00000004" / "all", [outcome()], step=4)
    (report,) = cli.result("wandb-sync", run.dir)["runs"]
    assert (report["sent"], report["last_step"], report["evaluations"]) == (0, 8, 2)
    complete(run, server)
    shown = {line["step"]: line for line in server.run.history if "eval/hellaswag/0/paper/acc" in line}
    assert {step: line["eval/hellaswag/0/paper/acc"] for step, line in shown.items()} == {
        3: 0.75,
        4: 0.75,
        8: 1.0,
    }
    assert shown[3]["tokens"] == 3 * 64, "the place on the x-axis"
    assert server.run.summary["eval/hellaswag/0/paper/acc"] == 1.0, "of the last step"
    assert server.run.summary["loss"] == 8.0
    scores, samples = (
        json.loads(server.files[shown[3][name]["path"]]) for name in ("eval/scores", "eval/samples")
    )
    assert scores["columns"][:5] == ["task", "shots", "protocol", "metric", "value"]
    assert scores["data"][0][:8] == ["hellaswag", 0, "paper", "acc", 0.75, 0.59806, 0.858129, 40]
    assert scores["data"][0][-3:] == [0.337, "GPT-3 125M", ""]
    assert len(samples["data"]) == 50, "of each task"
    received = len(server.run.received)
    assert cli.result("wandb-sync", run.dir)["runs"][0]["evaluations"] == 0
    assert len(server.run.received) == received == 8 + 3
    assert server.run.exit_code == 0


def test_an_evaluation_that_cannot_be_read_holds_no_step_back(
    run: WrittenRun, server: WandbServer, caplog: pytest.LogCaptureFixture
) -> None:
    run.steps(3)
    folder = run.dir / "evaluations" / "step-00000003"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("{")
    assert not WandbSync(run.dir).update()
    assert len(server.run.history) == 2
    assert "results.json: are no results" in caplog.text


@pytest.mark.slow(2)
@pytest.mark.parametrize(
    "habits",
    [{"stale_count": 4}, {"stale_tail": 4}, {"stale_count": 3, "stale_tail": 5}, {"stale_count": 99}],
    ids=str,
)
def test_a_server_that_reports_less_than_it_has_loses_nothing(
    run: WrittenRun, server: WandbServer, habits: dict[str, int]
) -> None:
    run.steps(10)
    cli.result("wandb-sync", run.dir)
    vars(server).update(habits)
    run.steps(10)
    run.end()
    cli.result("wandb-sync", run.dir)
    complete(run, server)


def test_a_server_that_has_become_empty_gets_everything_anew(run: WrittenRun, server: WandbServer) -> None:
    run.steps(10)
    sync = WandbSync(run.dir)
    sync.update()
    server.runs.clear()
    run.steps(3)
    with pytest.raises(TryLater, match="answered 404"):
        sync.update()
    run.end()
    assert sync.update()
    complete(run, server)


@pytest.mark.slow(2)
@pytest.mark.parametrize("fault", ["503", "cut", "unheard"])
def test_a_request_that_was_not_acknowledged_is_repeated(
    run: WrittenRun, server: WandbServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(wandb_sync, "CHUNK_LINES", 4)
    seen: list[int] = []

    def on_stream(_: Run, lines: int) -> str:
        seen.append(lines)
        return fault if len(seen) == 2 else ""

    server.on_stream = on_stream
    run.steps(10)
    run.end()
    cli.result("wandb-sync", run.dir)
    assert seen[1:3] == [4, 4]
    complete(run, server)
    assert len(server.run.received) == 10 + {"503": 0, "cut": 2, "unheard": 4}[fault]


@pytest.mark.slow(2)
def test_a_server_that_acknowledges_too_late_is_asked_again(
    run: WrittenRun, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_server, "TIMEOUT_S", 0.2)
    server.late_s = 0.4
    server.on_stream = lambda run, lines: vars(server).update(late_s=0.4 * (not run.received)) or ""
    run.steps(5)
    run.end()
    cli.result("wandb-sync", run.dir)
    complete(run, server)
    assert len(server.run.received) > 5, "it was too late for us"


@pytest.mark.slow(5)
def test_a_sync_that_is_killed_in_the_middle_is_completed_by_the_next(
    run: WrittenRun, server: WandbServer
) -> None:
    run.steps(30)
    run.end()
    faults = ["unheard", "cut", "unheard"]
    streams = 0

    def kill(_: Run, lines: int) -> str:
        nonlocal streams
        streams += 1
        if streams % 2 or not faults:
            return ""
        fault = faults.pop()
        child.kill()
        child.wait(patient())
        return fault

    server.on_stream = kill
    code = "import sys; from pathlib import Path; from pipeline.monitor import wandb_sync; "
    code += "wandb_sync.CHUNK_LINES = 3; wandb_sync.WandbSync(Path(sys.argv[1])).update()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    codes = []
    while faults or not codes:
        child = subprocess.Popen([sys.executable, "-c", code, str(run.dir)], env=environment)
        codes.append(child.wait(patient()))
    assert codes == [-signal.SIGKILL] * 3
    assert len(server.run.lines) == 3 + 3 + 3 + 1 + 3 + 3, "two requests of each, one of them cut"
    cli.result("wandb-sync", run.dir)
    complete(run, server)


def test_generated_texts_are_a_table_in_the_line_of_their_step(run: WrittenRun, server: WandbServer) -> None:
    run.steps(6)
    run.end()
    WandbSync(run.dir).update()
    write(run.dir / "evaluations" / "step-00000006" / "all", [outcome()], step=6)
    keep(run.dir, 4, "top-k 40", [{"prompt": "the", "text": " end", "tokens": 1}])
    (report,) = cli.result("wandb-sync", run.dir)["runs"]
    assert (report["sent"], report["evaluations"]) == (0, 1)
    complete(run, server)
    (line,) = [line for line in server.run.history if "generated" in line]
    assert line["step"] == 4
    assert json.loads(server.files[line["generated"]["path"]]) == {
        "columns": ["how", "prompt", "text"],
        "data": [["top-k 40", "the", " end"]],
    }
    assert server.run.summary["generated"] == line["generated"], "where people see the newest"
    assert server.run.summary["eval/step"] == 6, "texts are no scores"
    received = len(server.run.received)
    keep(run.dir, 4, "top-k 40", [{"prompt": "the", "text": " end", "tokens": 1}])
    WandbSync(run.dir).update()
    assert len(server.run.received) == received, "the same texts are sent once"


@pytest.mark.slow(1)
def test_late_samples_come_with_the_current_step_as_a_table(run: WrittenRun, server: WandbServer) -> None:
    sync = WandbSync(run.dir)
    run.steps(5)
    sync.update()
    run.samples(2)
    run.steps(1)
    sync.update()
    run.samples(6)
    run.end()
    WandbSync(run.dir).update()
    found = {line["_step"]: line for line in server.run.history if "samples" in line}
    assert {step: line["of_step"] for step, line in found.items()} == {5: 2, 6: 6}
    table = found[5]["samples"]
    assert (table["_type"], table["nrows"]) == ("table-file", 1)
    assert json.loads(server.files[table["path"]]) == {
        "columns": ["of_step", "prompt", "text"],
        "data": [[2, "the", " end 2"]],
    }


@pytest.mark.slow(1)
def test_a_second_sender_sends_what_the_first_has_not(run: WrittenRun, server: WandbServer) -> None:
    online, by_hand = WandbSync(run.dir), WandbSync(run.dir)
    run.steps(4)
    for sync in (online, by_hand):
        sync.update()
    run.steps(4)
    online.update()
    run.roll_back(3)
    run.steps(4)
    for sync in (by_hand, online):
        sync.update()
    run.steps(4)
    run.end()
    for sync in (by_hand, online):
        assert sync.update()
    assert [line["loss"] for line in server.run.history] == [1, 2, 3, 4, 5, 6, 7, 14, 15, 16, 17]
    assert len(server.run.received) == 11, "nothing was sent twice"
    assert server.run.summary["undone_steps"] == "4-7"


def test_one_run_that_cannot_be_sent_does_not_keep_the_others(
    run: WrittenRun, server: WandbServer, tmp_path: Path
) -> None:
    run.steps(2)
    run.end()
    ended = cli.run("wandb-sync", tmp_path, run.dir)
    assert ended.returncode == 1
    message = f"error: {tmp_path}/attempts: is not there; expected the directory of a training run"
    assert message in " ".join(ended.stderr.split())
    complete(run, server)


def test_a_server_that_is_away_or_refuses_is_named(
    run: WrittenRun, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_server, "RETRIES", RETRIES.new(total=0, connect=0))
    monkeypatch.setenv("WANDB_API_KEY", "wrong")
    ended = cli.run("wandb-sync", run.dir)
    assert ended.returncode == 1
    assert "refuses the API key: run `wandb login`" in " ".join(ended.stderr.split())
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    ended = cli.run("wandb-sync", run.dir)
    assert ended.returncode == 1
    assert "http://127.0.0.1:1 cannot be reached ([Errno 111] Connection refused)" in " ".join(
        ended.stderr.split()
    )
    assert "Traceback" not in ended.stderr


def test_an_address_of_something_else_is_named(
    run: WrittenRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "127.0.0.1/wandb")
    ended = cli.run("wandb-sync", run.dir)
    assert (ended.returncode, "WANDB_BASE_URL is '127.0.0.1/wandb': Invalid URL" in ended.stderr) == (1, True)

    class Site(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Sign in to this network</html>")

    with HTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.handle_request, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{site.server_address[1]}")
        ended = cli.run("wandb-sync", run.dir)
    assert ended.returncode == 1
    assert "answers no JSON: expected the address of a W&B server" in " ".join(ended.stderr.split())

    monkeypatch.delenv("WANDB_BASE_URL")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    (tmp_path / "settings").write_text("base_url = x")
    ended = cli.run("wandb-sync", run.dir)
    assert ended.returncode == 1
    assert "run `wandb login` again" in " ".join(ended.stderr.split())


def test_what_wandb_login_has_written_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_BASE_URL", "WANDB_API_KEY", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert base_url() == "https://api.wandb.ai"
    settings = tmp_path / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = https://wandb.example.org/\n")
    with pytest.raises(RunError, match=r"no API key for https://wandb.example.org: run `wandb login`"):
        api_key(base_url())
    (tmp_path / "netrc").write_text("machine wandb.example.org\n  login user\n  password secret\n")
    assert api_key(base_url()) == "secret"
