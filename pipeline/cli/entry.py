"""The installed script `outbound`, which answers Ctrl-C also while the commands are imported."""

import sys

from pipeline.cli.interrupts import repeat_lost_interrupts


def main() -> None:
    """Run the command line, as `pipeline.cli.main` does."""
    repeat_lost_interrupts()
    try:
        from pipeline.cli.main import main as run
    except KeyboardInterrupt:
        print("stopped before it began", file=sys.stderr)
        sys.exit(130)
    run()
