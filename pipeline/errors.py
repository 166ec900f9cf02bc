"""The errors that the command line shows as one line, without a traceback."""

from dataprep.errors import UsageError
from slurm.codes import BAD_NODE_EXIT, SUPERSEDED_EXIT

__all__ = ["SUPERSEDED_EXIT", "BadNodes", "RunError", "Superseded", "UsageError", "exit_code"]


class RunError(Exception):
    """Something failed that the user can mend; the message names file, value and remedy (exit 1)."""


class Superseded(RunError):
    """Another attempt has taken over the run (exit SUPERSEDED_EXIT)."""


class BadNodes(RunError):
    """Some nodes cannot train this run, and others could (exit BAD_NODE_EXIT)."""

    def __init__(self, nodes: dict[str, str]) -> None:
        """nodes: the reason of each, by name."""
        super().__init__("; ".join(f"{node}: {reason}" for node, reason in nodes.items()))
        self.nodes = nodes


def exit_code(error: BaseException) -> int:
    """Exit code of a process that ends with this error: 1, 2, SUPERSEDED_EXIT or BAD_NODE_EXIT."""
    if isinstance(error, Superseded):
        return SUPERSEDED_EXIT
    if isinstance(error, BadNodes):
        return BAD_NODE_EXIT
    return 2 if isinstance(error, UsageError) else 1
