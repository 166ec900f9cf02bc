"""The demo's web, served: every site of `sites.py` on one loopback port, distinguished by the Host header."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from types import TracebackType

from aiohttp import web

from pipeline.demo.sites import Answer, Sites


@dataclass(frozen=True)
class Request:
    """One request that the web answered."""

    host: str
    path: str
    status: int
    agent: str

    @property
    def url(self) -> str:
        return f"http://{self.host}{self.path}"


@dataclass
class EmbeddedWeb:
    """A context manager: inside it the sites are served by a thread of this process.

    port: chosen by the system, known inside the context.
    requests: every request answered so far, in order.
    """

    sites: Sites
    port: int = 0
    requests: list[Request] = field(default_factory=list)

    @property
    def connect_to(self) -> str:
        """The rule by which a crawler reaches any host of this web (curl's --connect-to)."""
        return f"::127.0.0.1:{self.port}"

    def __enter__(self) -> EmbeddedWeb:
        self._loop = asyncio.new_event_loop()
        self._runner = self._loop.run_until_complete(self._start())
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded-web", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        host = request.host.partition(":")[0].lower()
        missing = Answer(404, b"<!DOCTYPE html><title>Not Found</title><h1>404 Not Found</h1>")
        answer = self.sites.answers.get((host, request.path), missing)
        agent = request.headers.get("User-Agent", "")
        self.requests.append(Request(host, request.path, answer.status, agent))
        await asyncio.sleep(answer.delay_s)
        headers = {"Content-Type": answer.content_type}
        if answer.location:
            headers["Location"] = answer.location
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        if answer.content_type.startswith("text/html"):
            response.enable_compression()
        return response
