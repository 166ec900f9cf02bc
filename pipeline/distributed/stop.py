"""Graceful stop on SIGTERM, SIGUSR1 or SIGINT: a flag that the loop reads between steps."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Becomes true when one of SIGNALS arrives.

    Python runs a handler only between operations of its own: in a collective it waits, which is as it
    should be, since a step cannot be left half done.
    """

    def __init__(self) -> None:
        self._requested = False
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def __bool__(self) -> bool:
        return self._requested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
