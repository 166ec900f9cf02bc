"""The part of Weights & Biases' protocol that a run needs, on loopback, with the habits of a real server.

GraphQL (`RunResumeStatus`, `UpsertBucket`, `CreateRunFiles`), uploads by PUT, and the file stream. History
lines are kept by their offset: a line that is sent again takes the place of the first.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.servers.threads import http_server

API_KEY = "k" * 40
AUTHORIZATION = f"Basic {base64.b64encode(f'api:{API_KEY}'.encode()).decode()}"
Line = dict[str, Any]


@dataclass
class Run:
    """A run as the server has it."""

    config: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    project: str = ""
    lines: dict[int, Line] = field(default_factory=dict)
    """History by offset."""
    received: list[Line] = field(default_factory=list)
    """Every history line in the order of its arrival, also those sent again."""
    summary: Line = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def history(self) -> list[Line]:
        """The history in the order of its offsets, which must have no gap."""
        assert sorted(self.lines) == list(range(len(self.lines))), sorted(self.lines)
        return [self.lines[offset] for offset in sorted(self.lines)]


@dataclass
class WandbServer:
    """What arrived, and how the server behaves."""

    base: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by operation."""
    late_s: float = 0.0
    """Time between keeping what a file stream sends and acknowledging it."""
    stale_count: int = 0
    """Lines by which the reported line count is behind."""
    stale_tail: int = 0
    """Lines by which the reported last line is behind."""
    on_stream: Callable[[Run, int], str] = lambda run, lines: ""
    """Called with each file stream and its number of history lines. May return `503`, `cut` (keep the first
    half of the lines and drop the connection) or `unheard` (keep all, and drop the connection)."""
    heartbeats: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client of this server."""
        return {"WANDB_BASE_URL": self.base, "WANDB_API_KEY": API_KEY}

    @property
    def run(self) -> Run:
        """The only run."""
        (run,) = self.runs.values()
        return run

    def query(self, name: str, variables: dict[str, Any]) -> Any:
        """Answer a GraphQL operation."""
        if name == "RunResumeStatus":
            return {"model": self._resume_status(variables["name"])}
        if name == "UpsertBucket":
            return {"upsertBucket": self._upsert(variables)}
        if name == "CreateRunFiles":
            files = [{"name": each, "uploadUrl": f"{self.base}/upload/{each}"} for each in variables["files"]]
            return {"createRunFiles": {"runID": "id", "uploadHeaders": ["X-Test:1"], "files": files}}
        return {}

    def stream(self, run: Run, sent: dict[str, Any]) -> str:
        """Keep what a file stream sends; returns what goes wrong."""
        files = sent.get("files") or {}
        history = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        lines = [json.loads(line) for line in history["content"]]
        self.heartbeats += not files
        fault = self.on_stream(run, len(lines))
        if fault == "503":
            return fault
        kept = lines[: len(lines) // 2] if fault == "cut" else lines
        for offset, line in enumerate(kept, history["offset"]):
            run.lines[offset] = line
            run.received.append(line)
        if "wandb-summary.json" in files and fault != "cut":
            run.summary = json.loads(files["wandb-summary.json"]["content"][-1])
        if sent.get("complete"):
            run.exit_code = sent["exitcode"]
        time.sleep(self.late_s)
        return fault

    def _resume_status(self, name: str) -> Any:
        project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "team"}}
        run = self.runs.get(name)
        if run is None:
            return project | {"bucket": None}
        lines = sorted(run.lines)
        tail = lines[: len(lines) - self.stale_tail][-1:]
        return project | {
            "bucket": {
                "id": "b",
                "name": name,
                "displayName": run.name,
                "summaryMetrics": json.dumps(run.summary),
                "historyLineCount": max(0, len(lines) - self.stale_count),
                "historyTail": json.dumps([json.dumps(run.lines[offset]) for offset in tail]),
                "eventsLineCount": 0,
                "eventsTail": "[]",
                "logLineCount": 0,
                "config": json.dumps(run.config),
                "tags": [],
                "notes": None,
                "wandbConfig": '{"t": 1}',
            }
        }

    def _upsert(self, variables: dict[str, Any]) -> Any:
        name, project = variables["name"], variables["project"] or "uncategorized"
        new = name not in self.runs
        run = self.runs.setdefault(name, Run())
        run.config = json.loads(variables["config"] or "{}")
        run.name, run.project = variables.get("displayName") or run.name or name, project
        run.exit_code = None
        bucket = {
            "id": "b",
            "name": name,
            "displayName": run.name,
            "description": None,
            "config": json.dumps(run.config),
            "sweepName": None,
            "project": {"id": "p", "name": project, "entity": {"id": "e", "name": "team"}},
            "historyLineCount": max(0, len(run.lines) - self.stale_count),
        }
        return {"bucket": bucket, "inserted": new}


@contextmanager
def serving() -> Iterator[WandbServer]:
    """Run a WandbServer in threads of this process."""
    state, lock = WandbServer(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_PUT(self) -> None:
            state.files[self.path.removeprefix("/upload/")] = self._body()
            self._answer({})

        def do_POST(self) -> None:
            sent = json.loads(self._body())
            if self.headers["Authorization"] != AUTHORIZATION:
                return self._answer({"errors": [{"message": "permission denied"}]}, 401)
            if self.path == "/graphql":
                name = sent["query"].split("(")[0].split("{")[0].split()[-1]
                state.asked[name] += 1
                with lock:
                    return self._answer({"data": state.query(name, sent.get("variables") or {})})
            assert self.path.endswith("/file_stream"), self.path
            state.asked["file_stream"] += 1
            _, files, entity, project, name, _ = self.path.split("/")
            run = state.runs.get(name)
            if (files, entity) != ("files", "team") or run is None or run.project != project:
                return self._answer({"error": "run not found"}, 404)
            with lock:
                fault = state.stream(run, sent)
            if fault == "503":
                return self._answer({"error": "busy"}, 503)
            if fault:
                self.close_connection = True
                return None
            return self._answer({"exitcode": None, "limits": {}})

        def _body(self) -> bytes:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            return gzip.decompress(data) if self.headers["Content-Encoding"] == "gzip" else data

        def _answer(self, answer: Any, status: int = 200) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http_server(Handler) as state.base:
        yield state
