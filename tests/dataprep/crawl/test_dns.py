"""Names are resolved by a real DNS server on loopback, whose answers change as an attacker's would."""

from __future__ import annotations

import asyncio
import random
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dataprep.crawl.client import Client
from dataprep.crawl.connect import tls_context
from dataprep.crawl.dns import Address
from dataprep.crawl.outcomes import NotFetched
from support.patience import patient

NXDOMAIN, SERVFAIL = 3, 2
TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}


class DnsServer:
    """Answers over UDP (RFC 1035) from `answers`: for each name, what to say to the first question and on.

    hold: answers wait until so many questions are open, or until no further one comes for `hold_s`.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str] | int]] = {}
        self.asked: list[str] = []
        self.most_open = 0
        self.hold = 1
        self.hold_s = patient(0.3)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop[0].send(b"x")
        self._thread.join(patient())

    def lookup(self, host: str) -> list[Address]:
        """Ask this server, as a stub resolver does."""
        question = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\0"
        number = random.randrange(1 << 16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(patient())
            asking.sendto(
                struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + question + b"\0\1\0\1", self.address
            )
            reply = asking.recv(512)
        got, flags, _, count = struct.unpack_from(">4H", reply)
        assert got == number
        if flags & 15:
            raise socket.gaierror(socket.EAI_NONAME if flags & 15 == NXDOMAIN else socket.EAI_AGAIN, "no")
        place, found = 12 + len(question) + 4, []
        for _ in range(count):
            _, kind, _, _, size = struct.unpack_from(">HHHIH", reply, place)
            family = TYPES[kind]
            found.append((family, socket.inet_ntop(family, reply[place + 12 : place + 12 + size])))
            place += 12 + size
        return found

    def _serve(self) -> None:
        waiting: list[tuple[bytes, Any]] = []
        while True:
            ready, _, _ = select.select(
                [self._socket, self._stop[1]], [], [], self.hold_s if waiting else None
            )
            if self._stop[1] in ready:
                return
            if ready:
                waiting.append(self._socket.recvfrom(512))
                self.most_open = max(self.most_open, len(waiting))
                if len(waiting) < self.hold + 1 and self.hold > 1:
                    continue
            for question, asker in waiting:
                self._socket.sendto(self._reply(question), asker)
            waiting.clear()

    def _reply(self, query: bytes) -> bytes:
        labels, place = [], 12
        while size := query[place]:
            labels.append(query[place + 1 : place + 1 + size].decode())
            place += 1 + size
        name = ".".join(labels)
        self.asked.append(name)
        script = self.answers[name]
        answer = script.pop(0) if len(script) > 1 else script[0]
        code, addresses = (answer, []) if isinstance(answer, int) else (0, answer)
        head = query[:2] + struct.pack(">5H", 0x8180 | code, 1, len(addresses), 0, 0)
        return head + query[12 : place + 5] + b"".join(map(_record, addresses))


def _record(address: str) -> bytes:
    kind, family = (28, socket.AF_INET6) if ":" in address else (1, socket.AF_INET)
    data = socket.inet_pton(family, address)
    return struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(data)) + data


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    server = DnsServer()
    yield server
    server.close()


Ask = Callable[..., list[str]]


@pytest.fixture
def ask(site: Any, settings: Any, dns: DnsServer) -> Ask:
    """ask(NAME...) requests a page of each name in turn (or `at_once`) and says how each request ended."""

    async def end(client: Client, name: str) -> str:
        try:
            return str((await client.page(f"http://{name}:{site.port}/")).status)
        except NotFetched as failure:
            return failure.outcome

    def run(*names: str, at_once: bool = False, **changes: object) -> list[str]:
        direct = {"connect_to": (), "ports": frozenset([site.port]), **changes}
        changed = settings.model_copy(update=direct)
        for name in names:
            site.html(f"http://{name}:{site.port}/")

        async def all_of_them() -> list[str]:
            async with Client(changed, tls_context(None), dns.lookup) as client:
                if at_once:
                    return await asyncio.gather(*(end(client, name) for name in names))
                return [await end(client, name) for name in names]

        return asyncio.run(all_of_them())

    return run


INWARD = ["10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fe80::1"]


@pytest.mark.parametrize("inward", INWARD)
def test_a_name_that_is_bound_to_an_inward_address_later_is_refused_then(
    site: Any, dns: DnsServer, ask: Ask, inward: str
) -> None:
    """Kept for no time, a name is looked up twice a request: before it and when it connects."""
    dns.answers["rebind.test"] = [["127.0.0.1"], ["127.0.0.1"], [inward]]
    assert ask("rebind.test", "rebind.test", dns_cache_s=0) == ["200", "refused_address"]
    assert len(site.hits) == 1


def test_a_name_that_is_bound_anew_between_check_and_connection_is_refused(
    site: Any, dns: DnsServer, ask: Ask
) -> None:
    dns.answers["rebind.test"] = [["127.0.0.1"], ["10.0.0.1"]]
    assert ask("rebind.test", dns_cache_s=0) == ["refused_address"]
    assert site.hits == []


def test_the_answer_that_was_checked_is_the_one_that_is_connected_to(
    site: Any, dns: DnsServer, ask: Ask
) -> None:
    """An attacker answers the check with a harmless address and the connection with another: there is one."""
    dns.answers["rebind.test"] = [["127.0.0.1"], ["10.0.0.1"]]
    assert ask("rebind.test", dns_cache_s=60) == ["200"]
    assert dns.asked == ["rebind.test"]


def test_the_permitted_one_of_several_addresses_is_connected_to(site: Any, dns: DnsServer, ask: Ask) -> None:
    dns.answers["mixed.test"] = [["10.0.0.1", "fe80::1", "127.0.0.1", "169.254.169.254"]]
    assert ask("mixed.test") == ["200"]


def test_answers_are_kept_and_those_who_ask_at_once_share_one(dns: DnsServer, ask: Ask) -> None:
    dns.answers["a.test"] = [["127.0.0.1"]]
    assert ask(*["a.test"] * 5, at_once=True) == ["200"] * 5
    assert dns.asked == ["a.test"]


def test_that_there_is_no_such_host_is_kept_and_a_resolver_in_trouble_is_asked_again(
    dns: DnsServer, ask: Ask
) -> None:
    dns.answers["gone.test"] = [NXDOMAIN]
    dns.answers["ill.test"] = [SERVFAIL, ["127.0.0.1"]]
    names = ["gone.test", "gone.test", "ill.test", "ill.test"]
    assert ask(*names) == ["no_such_host", "no_such_host", "dns_error", "200"]
    assert dns.asked == ["gone.test", "ill.test", "ill.test"]


@pytest.mark.slow(1)
def test_no_more_names_are_looked_up_at_once_than_allowed(dns: DnsServer, ask: Ask) -> None:
    names = [f"{number}.test" for number in range(6)]
    dns.answers = {name: [["127.0.0.1"]] for name in names}
    dns.hold = 2
    assert ask(*names, at_once=True, dns_concurrency=2) == ["200"] * 6
    assert dns.most_open == 2


@pytest.mark.slow(1)
def test_waiting_for_a_place_at_the_resolver_is_not_held_against_a_site(dns: DnsServer, ask: Ask) -> None:
    """Five look-ups, one at a time, that together take longer than a whole request may."""
    names = [f"{number}.test" for number in range(5)]
    dns.answers = {name: [["127.0.0.1"]] for name in names}
    dns.hold = 2
    most_s = patient(0.8)
    dns.hold_s = most_s / 4
    assert (
        ask(*names, at_once=True, dns_concurrency=1, connect_timeout_s=most_s, total_timeout_s=most_s)
        == ["200"] * 5
    )
