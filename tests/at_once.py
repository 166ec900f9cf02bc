"""One `outbound` command that is loaded, says so, and begins when it is told to: `at_once.py WORD...`."""

from __future__ import annotations

import sys
from importlib import import_module

LOADED = (
    "pipeline.cli.main",
    "pipeline.report",
    "dataprep.ingest",
    "dataprep.forget.run",
    "dataprep.tokens.forget",
    "dataprep.tokens.pack",
    "dataprep.export",
    "tiktoken",
)
"""What commands import when they run, which takes far longer than a small corpus."""

if __name__ == "__main__":
    for name in LOADED:
        import_module(name)
    print("ready", flush=True)
    sys.stdin.readline()
    import_module("pipeline.cli.main").main()
