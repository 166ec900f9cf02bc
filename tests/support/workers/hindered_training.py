"""`outbound` in a job of training to which something happens: started in place of the real one.

HINDRANCES in the environment names a folder. Each rank notes its process in `ranks/HOST`. While the folder
holds `slow`, each step takes a while longer, so that a fault hits before the run is done. A rank dies at its
start on a machine of which there is `kill/HOST`, as by the kernel when memory runs out.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.cli.main import main

HINDRANCES = Path(os.environ["HINDRANCES"])
PAUSE_S = 0.4


def hinder() -> None:
    """Let happen to this rank what the folder has for it."""
    host = os.environ["SLURMD_NODENAME"]
    (HINDRANCES / "ranks" / host).write_text(str(os.getpid()))
    if (HINDRANCES / "kill" / host).exists():
        os.kill(os.getpid(), signal.SIGKILL)

    from pipeline.distributed.engine import PipelineEngine

    train_batch = PipelineEngine.train_batch

    def slow(*arguments: Any) -> Any:
        if (HINDRANCES / "slow").exists():
            time.sleep(PAUSE_S)
        return train_batch(*arguments)

    PipelineEngine.train_batch = slow  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] == "train":
        hinder()
    main()
