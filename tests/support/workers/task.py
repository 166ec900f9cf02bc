"""A task of srun: `outbound train`. OVERRIDES in its environment, JSON, are those of this task alone."""

from __future__ import annotations

import json
import os
import sys

from pipeline.cli.main import main

if __name__ == "__main__":
    sys.argv[1:] = ["train", *sys.argv[1:], *json.loads(os.environ.get("OVERRIDES", "[]"))]
    main()
