"""Children that are killed, each with a look at what ended it.

A child that dies of a mistake of its own, or is done before the kill, shows nothing about kills. So every
test that kills goes through one of these, which fail in the first case and report the second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

from support.patience import patient

KILLS = (-signal.SIGKILL, -signal.SIGALRM)
"""Exit codes of a child that was killed: from outside, or by a clock of the kernel (`die_within`)."""


def kill(child: subprocess.Popen[Any]) -> None:
    """Kill a child (SIGKILL) that must still be running, and see it gone."""
    child.kill()
    said = child.communicate(timeout=patient())
    assert was_killed(child.returncode, said), f"was done before it was killed: {said}"


def was_killed(returncode: int, said: object) -> bool:
    """Whether a child was killed (True) or came to its end (False); it must be one of the two."""
    assert returncode in (0, *KILLS), f"ended by itself with {returncode}: {said}"
    return returncode != 0


def killed(work: Callable[..., object], *arguments: Any) -> bool:
    """Do the work in a fork of this process, in which it meets a kill (True) or comes to its end (False)."""
    child = os.fork()
    if not child:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)  # never back into pytest
    return was_killed(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "see above")


def run_to_the_kill(*words: object, **popen: Any) -> bool:
    """Run `support.killed_outbound` with these words: True if it was killed, False if it came to its end."""
    command = [sys.executable, "-m", "support.killed_outbound", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=patient(), **popen
    )
    return was_killed(ended.returncode, ended.stdout + ended.stderr)


def die_before(call: int, owner: Any, *names: str) -> None:
    """Kill this process (SIGKILL) just before call number `call` of any of these functions; 0: never."""
    left = call

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return counted

    for name in names:
        setattr(owner, name, dying(getattr(owner, name)))


def die_within(seconds: float) -> None:
    """Let the kernel end this process then, wherever it is, also in C code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
