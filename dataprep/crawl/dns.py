"""Names to addresses: few look-ups at once, each answer kept for a while, only addresses that are permitted.

DNS is what collapses first in a bulk crawl: every site is a new name, many names are dead, and a resolver
that is asked too much answers nobody. So look-ups have a cap of their own and a queue that no server's clock
runs in (`prepare`), and an answer is kept, also that there is no such host. The answer that is connected to
is the one that was checked, which leaves DNS rebinding no gap.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf

from aiohttp.abc import AbstractResolver, ResolveResult

from dataprep.ip_addresses import Guard, RefusedAddress

NAMES_KEPT = 10_000
NO_SUCH_HOST = frozenset([socket.EAI_NONAME, socket.EAI_NODATA])
"""Answers about the name; every other error is about the resolver and is no evidence about the host."""

Address = tuple[socket.AddressFamily, str]
Lookup = Callable[[str], list[Address]]
"""Blocks until a name's addresses are known; raises socket.gaierror."""


def system_lookup(host: str) -> list[Address]:
    """Ask the system's resolver.

    >>> system_lookup("127.0.0.1")
    [(<AddressFamily.AF_INET: 2>, '127.0.0.1')]
    """
    answer = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [(family, str(address[0])) for family, _, _, _, address in answer]


class GuardedResolver(AbstractResolver):
    """DNS on threads of its own, whose answers hold only addresses that the guard permits.

    lookups: how many run at once. keep_s: how long an answer is kept. A failure of the resolver is not kept.
    """

    def __init__(self, guard: Guard, lookups: int, keep_s: float, lookup: Lookup = system_lookup) -> None:
        self._guard = guard
        self._keep_s = keep_s
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(lookups, thread_name_prefix="dns")
        self._known: dict[str, _Answer] = {}

    async def prepare(self, host: str) -> None:
        """Wait until a name's addresses are known, so that `resolve` gives them at once.

        Raises socket.gaierror when there are none, RefusedAddress when none of them is permitted.
        """
        self._permitted(host, await self._addresses(host))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises RefusedAddress when a name has addresses, but none that is permitted."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in self._permitted(host, await self._addresses(host))
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """Wait for nothing: a lookup that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _permitted(self, host: str, addresses: list[Address]) -> list[Address]:
        permitted = [entry for entry in addresses if self._guard.permits(entry[1])]
        if not permitted:
            refused = ", ".join(sorted({address for _, address in addresses}))
            raise RefusedAddress(f"{host} resolves to {refused}")
        return permitted

    async def _addresses(self, host: str) -> list[Address]:
        """What is known of a name, or a new look-up, which all who ask meanwhile share."""
        loop = asyncio.get_running_loop()
        known = self._known.get(host)
        if known is None or known.until <= loop.time():
            known = _Answer(loop.run_in_executor(self._threads, self._lookup, host))
            known.future.add_done_callback(lambda _: self._date(host, known, loop.time()))
            self._known.pop(host, None)
            self._known[host] = known
            if len(self._known) > NAMES_KEPT:
                del self._known[next(iter(self._known))]
        return await asyncio.shield(known.future)  # one who gives up must not take it from the others

    def _date(self, host: str, answer: _Answer, now: float) -> None:
        error = None if answer.future.cancelled() else answer.future.exception()
        if answer.future.cancelled() or (error and getattr(error, "errno", None) not in NO_SUCH_HOST):
            if self._known.get(host) is answer:
                del self._known[host]
        else:
            answer.until = now + self._keep_s


class _Answer:
    """The addresses of a name, on their way or here; `until` (the loop's time) they are believed."""

    def __init__(self, future: asyncio.Future[list[Address]]) -> None:
        self.future = future
        self.until = inf
