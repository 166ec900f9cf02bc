"""What tests let a sandbox's child do."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

from dataprep.errors import DataError


def call(what: str, notes: str = "") -> Any:
    """Behave as asked."""
    match what:
        case "compute":
            while True:
                pass
        case "wait":
            time.sleep(60)
        case "note and wait":
            with open(notes, "a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(60)
        case "grow":
            held = []
            while True:
                held.append(bytes(range(256)) * 4096)
                time.sleep(0.001)
        case "ask for too much":
            bytes(1 << 60)
        case "crash":
            ctypes.string_at(0)
        case "exit":
            os._exit(0)
        case "print":
            print("a library that prints", flush=True)
            os.write(1, b"so does C")
        case "fail":
            raise DataError("a.warc.gz: is missing")
    return [what, os.getpid()]
