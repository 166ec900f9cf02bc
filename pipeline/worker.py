"""One process of a local run, as `pipeline.launch` starts it: trains, and leaves word when it fails.

Its standard input is a pipe that closes when the launcher dies, so nobody is left behind; its standard
output carries one JSON line, and only after a failure.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from pathlib import Path

from pipeline.errors import RunError, UsageError
from pipeline.stop import StopRequest


def main(argv: list[str]) -> int:
    """Train as the rank that the environment names; exit code 0, 1 or 2."""
    stop = StopRequest()
    threading.Thread(target=_leave_with_launcher, daemon=True).start()
    rank = os.environ["RANK"]
    try:
        from pipeline.config import load_config
        from pipeline.ranks import place_from_environment

        config, generation = load_config(Path(argv[0]), argv[1:])
        log_to(config.run.dir / "log.txt", rank)
        from pipeline.loop import train

        place = place_from_environment()
        assert place is not None
        train(config, generation, place, stop)
    except RunError as error:
        return _report(str(error), usage=isinstance(error, UsageError))
    except Exception as error:
        logging.getLogger("outbound").error(traceback.format_exc())
        first_line = str(error).partition("\n")[0]
        return _report(
            f"rank {rank}: {type(error).__name__}: {first_line} (see log.txt in the run)", bug=True
        )
    return 0


def log_to(path: Path, rank: str) -> None:
    """Send the run's log to a file that all its processes append to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(f"%(asctime)s rank {rank} %(levelname)s %(message)s"))
    logger = logging.getLogger("outbound")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)


def _leave_with_launcher() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _report(message: str, usage: bool = False, bug: bool = False) -> int:
    print(json.dumps({"message": message, "usage": usage, "bug": bug}), flush=True)
    return 2 if usage else 1


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # peers may hold a collective open; nothing is left to save
