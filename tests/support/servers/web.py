"""A small web of many names: one aiohttp server on loopback, reached through connect_to."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from support.patience import patient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Hit:
    """A request as the server saw it."""

    at: float
    host: str
    path: str
    headers: dict[str, str]


@dataclass
class Web:
    """What the server knows: pages by (host, path), and every request so far. Unknown paths are 404.

    The request for a tdmrep.json that is not there goes without saying: every host is asked for it once.
    """

    port: int = 0
    pages: dict[tuple[str, str], Handler] = field(default_factory=dict)
    hits: list[Hit] = field(default_factory=list)
    on_hit: Callable[[], None] = lambda: None

    def html(self, url: str, body: bytes | str = "<p>hello</p>", **headers: str) -> str:
        """Serve a page of HTML; returns its URL."""
        data = body.encode() if isinstance(body, str) else body
        named = {"Content-Type": "text/html", **http_names(headers)}

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=data, headers=named)

        return self.serve(url, answer)

    def status(self, url: str, status: int, **headers: str) -> str:
        """Answer with a status and headers alone; returns the URL."""

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text="", headers=http_names(headers))

        return self.serve(url, answer)

    def serve(self, url: str, handler: Handler) -> str:
        """Answer a URL (its scheme does not matter) with a handler; returns the URL."""
        host, _, path = url.partition("://")[2].partition("/")
        self.pages[host, f"/{path}"] = handler
        return url

    def paths(self, host: str) -> list[str]:
        """The paths that a host was asked for, in order."""
        return [hit.path for hit in self.hits if hit.host == host]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        handler = self.pages.get((request.host, request.path_qs))
        if handler or request.path != "/.well-known/tdmrep.json":
            self.hits.append(Hit(time.monotonic(), request.host, request.path_qs, dict(request.headers)))
            self.on_hit()
        return await handler(request) if handler else web.Response(status=404, text="no such page")


def http_names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Run a Web in a thread of its own."""
    served, ready, loop = Web(), threading.Event(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", served.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        served.port = runner.addresses[0][1]
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(patient())
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(patient())
