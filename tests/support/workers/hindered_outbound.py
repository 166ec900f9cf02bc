"""`outbound` on a machine to which something happens: started in place of the real one.

HINDRANCES in the environment names a folder. While it holds `hold/HOST`, no record is committed on that
machine; which one would be next, `held/HOST` says. A process that is about to commit a part dies if there is
`kill/STEP.PART`, as by the kernel when memory runs out. Workers count as dead after seconds, not minutes.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from dataprep.store import workers

workers.HEARTBEAT_S, workers.SILENT_S = 1.0, 15.0  # before others are imported, which take them over

from dataprep.store import step  # noqa: E402
from pipeline.cli.main import main  # noqa: E402

HINDRANCES = Path(os.environ["HINDRANCES"])

commit = step.commit


def hindered(path: Path, record: Any) -> Any:
    part, host = f"{record.step}.{record.part}", socket.gethostname()
    if (HINDRANCES / "kill" / part).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while (HINDRANCES / "hold" / host).exists():
        (HINDRANCES / "held" / host).write_text(str(path))
        time.sleep(0.1)
    return commit(path, record)


step.commit = hindered

if __name__ == "__main__":
    main()
