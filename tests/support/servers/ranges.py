"""A server of files by byte range on loopback, which can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

from support.servers.threads import http_server

Fault = Callable[[str, int, int], str]
"""fault(path, offset, times asked) names what goes wrong, by a word of `RangeServer`, or nothing ("")."""


class RangeServer:
    """What was asked for. `fault` may say `503`, `cut`, `whole`, `shifted`, `garbled` or `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault: Fault = lambda path, offset, times: ""
        self.asked: Counter[tuple[str, int]] = Counter()
        self.agents: set[str] = set()
        self.most_at_once = 0
        self.at_once = 0
        self.lock = threading.Lock()
        self.base = ""


@contextmanager
def serving(folder: Path) -> Iterator[RangeServer]:
    state = RangeServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_GET(self) -> None:
            with state.lock:
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                self._answer()
            finally:
                with state.lock:
                    state.at_once -= 1

        def _answer(self) -> None:
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            path = state.folder / unquote(self.path).lstrip("/")
            state.agents.add(self.headers["User-Agent"])
            if not path.is_file() or not found:
                return self._send(404 if found else 400, b"")
            first, last = int(found[1]), int(found[2])
            with state.lock:
                state.asked[self.path, first] += 1
                times = state.asked[self.path, first]
            content = path.read_bytes()
            fault = state.fault(self.path, first, times)
            if fault == "close":
                self.close_connection = True
                return None
            if fault == "503":
                return self._send(503, b"", {"Retry-After": "0"})
            if fault == "whole":
                return self._send(200, content)
            if first >= len(content):
                return self._send(416, b"")
            body = content[first : last + 1]
            shift = 1 if fault == "shifted" else 0
            given = {"Content-Range": f"bytes {first + shift}-{first + len(body) - 1}/{len(content)}"}
            if fault == "cut":
                body = body[: len(body) // 2]
            if fault == "garbled":
                body = body[:20] + bytes(len(body) - 20)
            return self._send(206, body, given)

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http_server(Handler) as state.base:
        yield state
