"""What a worker tells of itself when it leaves."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dataprep.store.files import attempt_path
from dataprep.store.os_errors import explain_os_error
from dataprep.store.presence import Presence
from dataprep.store.workers import new_worker


def test_the_file_that_did_not_fit_on_a_full_disk_is_named_and_not_the_heartbeat(tmp_path: Path) -> None:
    presence = Presence(tmp_path, new_worker("cpu", 1))

    def work() -> None:
        with presence.kept():
            attempt_path(tmp_path / "increments", "part-00001")
            presence.show([])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space") as full:
        work()
    told = str(explain_os_error(full.value))
    assert told.startswith(f"{tmp_path}/increments/part-00001: No space left on device")
    assert presence.worker.ended == told
