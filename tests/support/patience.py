"""How long tests wait: bounds that only a failure reaches, and one factor for all of them.

OUTBOUND_TEST_PATIENCE=3 lets every wait take three times as long, for a machine that is slow or busy. A wait
ends as soon as what it waits for has come, so a generous bound costs nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("OUTBOUND_TEST_PATIENCE", "1"))
WAIT_S = 300.0
"""Bound of a wait for what takes seconds on an idle machine."""
TEST_S = 900.0
"""Bound of a test with its fixtures."""


def patient(seconds: float = WAIT_S) -> float:
    """Seconds that a wait may take on this machine."""
    return seconds * FACTOR


def wait_until(came: Callable[[], object], what: str, every_s: float = 0.01) -> None:
    """Return as soon as it came; fail and name `what` did not come."""
    deadline = time.monotonic() + patient()
    while not came():
        assert time.monotonic() < deadline, f"after {patient():.0f} s still not there: {what}"
        time.sleep(every_s)
