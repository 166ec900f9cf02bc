"""aiohttp and uvloop fetch pages and drop them: what a crawler in Python costs at least. `... JOB OUT`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import uvloop
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult


class Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


async def crawl(port: int, sites: dict[str, list[str]]) -> int:
    """Fetch each site's pages one after the other, all sites at once; returns how many came."""

    async def visit(site: str, paths: list[str]) -> int:
        came = 0
        for path in paths:
            async with session.get(f"http://{site}:{port}{path}") as response:
                came += bool(await response.read()) and response.status == 200
        return came

    connector = TCPConnector(resolver=Loopback(), limit=0)
    async with ClientSession(connector=connector) as session:
        return sum(await asyncio.gather(*[visit(site, paths) for site, paths in sites.items()]))


if __name__ == "__main__":
    work = json.loads(Path(sys.argv[1]).read_text())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump({"pages": runner.run(crawl(work["port"], work["sites"]))}, sys.stdout)
