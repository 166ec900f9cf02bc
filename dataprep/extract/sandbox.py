"""A function run in a child process of its own, which may hang, explode or crash without harm.

The child lives on from call to call; it is replaced only after it had to be killed, or died. Time is limited
by timers at which the kernel kills it: they hold in C code, too, and when this process is gone. Its memory is
watched from here. Requests and replies are msgpack, not pickle: a page that took the child over would still
have to answer in data.

A death that neither timer nor watch explains is tried once more, in a new child: `kill -9` from outside must
not look like a page that crashes.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

import msgspec

from dataprep.errors import DataError

WALL_FACTOR = 20
"""Wall time that a call may take, in multiples of its CPU time: for what waits and computes nothing. So many
that CPU time decides on a crowded machine, too."""
WATCH_S = 0.05
"""How often the memory of a child is looked at, in a call that takes longer."""

_LENGTH_BYTES = 8
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Misbehaved(Exception):
    """A call that was ended; the argument is why: `timed_out`, `out_of_memory` or `crashed`."""


@dataclass(frozen=True)
class Limits:
    """What one call may take: CPU seconds, and bytes that are resident."""

    cpu_s: float
    memory_bytes: int


class Sandbox:
    """A child that calls one function (`package.module:name`), of msgpack's types to msgpack's types."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._child: subprocess.Popen[bytes] | None = None

    def call(self, limits: Limits, *arguments: Any) -> Any:
        """What the function returns. Raises Misbehaved, and DataError as the function does."""
        request = msgspec.msgpack.encode((limits.cpu_s, arguments))
        try:
            reply = self._ask(request, limits)
        except Misbehaved as reason:
            if str(reason) != "crashed":
                raise
            reply = self._ask(request, limits)
        kind, value = msgspec.msgpack.decode(reply)
        if kind == "returned":
            return value
        raise DataError(value) if kind == "data_error" else Misbehaved(value)

    def close(self) -> None:
        """End the child, also one that is in the middle of a call."""
        if self._child:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _ask(self, request: bytes, limits: Limits) -> bytes:
        child = self._child = self._child or _start(self._function)
        assert child.stdin
        try:
            _send(child.stdin, request)
            size = int.from_bytes(_receive(child, _LENGTH_BYTES, limits), "little")
            return _receive(child, size, limits)
        except BaseException as error:
            self.close()  # a child that was not heard to the end cannot be asked again
            if isinstance(error, BrokenPipeError):
                raise Misbehaved("crashed") from None
            raise


class Sandboxes:
    """Sandboxes of one function, made as they are needed and kept."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._idle: SimpleQueue[Sandbox] = SimpleQueue()

    def close(self) -> None:
        """End the children that are idle; later calls start new ones."""
        while not self._idle.empty():
            self._idle.get().close()

    def map(self, limits: Limits, calls: Iterable[tuple[Any, ...]], children: int) -> Iterator[Any]:
        """What each call returned, or the Misbehaved that it raised, in order; `children` work at once."""
        if children <= 1:
            yield from (self._call(limits, arguments) for arguments in calls)
            return
        with ThreadPoolExecutor(children) as threads:
            try:
                yield from threads.map(lambda arguments: self._call(limits, arguments), calls)
            finally:
                threads.shutdown(cancel_futures=True)

    def _call(self, limits: Limits, arguments: tuple[Any, ...]) -> Any:
        try:
            sandbox = self._idle.get_nowait()
        except Empty:
            sandbox = Sandbox(self._function)
        try:
            return sandbox.call(limits, *arguments)
        except Misbehaved as misbehaved:
            return misbehaved
        finally:
            self._idle.put(sandbox)


def serve(function: str) -> None:
    """The child: answer calls on standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends the input
    for timer in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(timer, signal.SIG_DFL)  # kills
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    logging.disable()
    module, _, name = function.partition(":")
    call = getattr(import_module(module), name)
    gc.freeze()  # what was imported stays, and is not looked through again and again
    requests = sys.stdin.buffer
    while length := requests.read(_LENGTH_BYTES):
        cpu_s, arguments = msgspec.msgpack.decode(requests.read(int.from_bytes(length, "little")))
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        signal.setitimer(signal.ITIMER_REAL, cpu_s * WALL_FACTOR)
        try:
            reply = msgspec.msgpack.encode(("returned", call(*arguments)))
        except MemoryError:
            reply = msgspec.msgpack.encode(("misbehaved", "out_of_memory"))
        except DataError as error:
            reply = msgspec.msgpack.encode(("data_error", str(error)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            _send(replies, reply)
        except BrokenPipeError:
            os._exit(1)  # the parent is gone


def _start(function: str) -> subprocess.Popen[bytes]:
    code = f"from dataprep.extract.sandbox import serve; serve({function!r})"
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],  # -P: the user's folder is not searched
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        process_group=0,  # out of reach of a Ctrl-C while it still imports, and would print a traceback
    )


def _send(pipe: BinaryIO | Any, message: bytes) -> None:
    pipe.write(len(message).to_bytes(_LENGTH_BYTES, "little") + message)
    pipe.flush()


def _receive(child: subprocess.Popen[bytes], size: int, limits: Limits) -> bytes:
    """The next `size` bytes of a reply. Raises Misbehaved when the child ends or is too large."""
    assert child.stdout
    pipe = child.stdout.fileno()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    received = bytearray()
    while len(received) < size:
        if not poll.poll(WATCH_S * 1000):
            if _resident_bytes(child.pid) > limits.memory_bytes:
                raise Misbehaved("out_of_memory")
            continue
        piece = os.read(pipe, size - len(received))
        if not piece:
            timers = (-signal.SIGPROF, -signal.SIGALRM)
            raise Misbehaved("timed_out" if child.wait() in timers else "crashed")
        received += piece
    return bytes(received)


def _resident_bytes(pid: int) -> int:
    """Memory of a process, or 0 where the system does not tell (it has no /proc) or it has ended."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
