"""One process of a local fine-tuning, as `distributed.launch` starts it (see `pipeline.train.worker`)."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from pipeline.distributed.stop import StopRequest
from pipeline.train.worker import attempt, run


def main(argv: list[str], report: TextIO) -> int:
    """Fine-tune as the rank that the environment names; exit code as of `pipeline.train.worker.main`."""
    stop = StopRequest()

    def work() -> None:
        from pipeline.distributed.ranks import rank_from_environment
        from pipeline.finetune.settings import load_config
        from pipeline.finetune.start import finetune_as_rank

        rank = rank_from_environment()
        assert rank is not None
        finetune_as_rank(load_config(Path(argv[0]), argv[1:]), rank, stop)

    return attempt(work, report)


if __name__ == "__main__":
    run(main)
