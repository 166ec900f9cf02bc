"""Run `outbound` and kill it (SIGKILL) just before its Nth change of a name: `killed_at.py N WORD...`.

Names are what commits are made of: a file appears under its name, takes another's place, or goes.
"""

from __future__ import annotations

import os
import sys

from kills import die_before

if __name__ == "__main__":
    die_before(int(sys.argv.pop(1)), os, "link", "replace", "rename", "unlink", "rmdir")
    from pipeline.cli.main import main

    main()
