"""A Ctrl-C that arrives where Python ignores exceptions: in a weak reference's callback, or in `__del__`."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

AGAIN_S = 0.01
"""Time for what was interrupted to return."""


def repeat_lost_interrupts() -> None:
    """Let a KeyboardInterrupt that Python would print and ignore arrive again, soon after.

    Python calls `sys.unraisablehook` for it, where it cannot be raised either. Another hook stays.
    """
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _repeat


def _repeat(ignored: Any) -> None:
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    main = threading.main_thread().ident
    again = threading.Timer(AGAIN_S, signal.pthread_kill, (main, signal.SIGINT))
    again.daemon = True
    again.start()
