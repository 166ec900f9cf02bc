"""Where a command may put a directory of its own: not where a file stands, or another kind of directory."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from pipeline.errors import UsageError

MARKS = {
    "recipe.yaml": "a corpus",
    "generation-1.json": "token shards",
    "vocab.bpe": "a tokenizer",
    "attempts": "a run",
}
"""What a directory is that holds a file of this name."""
OF_RUNS = (
    "logs",
    "log.txt",
    "lock-*",
    "tokenizer",
    "wandb_id",
    "stacks-rank-*",
    "evaluations",
    "checkpoints",
)
"""What may stand in a run's directory before it has begun, or when its first start was refused."""

OF_FINETUNINGS = ("seed-*", "corpus", "log.txt", "logs")
"""One of these stands in the directory of a fine-tuning that has begun, or that was submitted."""


def refuse_file(directory: Path) -> None:
    """Raise UsageError when a file stands where a directory is to be."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file; give a directory")


def refuse_mixing(directory: Path, kind: str) -> None:
    """Raise UsageError when a file, or a directory of another kind of MARKS than this, stands there."""
    refuse_file(directory)
    for mark, other in MARKS.items():
        if other != kind and (directory / mark).exists():
            raise UsageError(f"{directory}: is {other} (it holds {mark}); give {kind} a directory of its own")


def refuse_strangers(directory: Path, kind: str, own: tuple[str, ...]) -> None:
    """Raise UsageError, as `refuse_mixing`, also when files stand there that are not this kind's.

    own: patterns of names, one of which says that the directory is of this kind already, begun or whole.
    """
    refuse_mixing(directory, kind)
    there = sorted(path.name for path in directory.glob("[!.]*"))
    if there and not any(fnmatch(name, pattern) for name in there for pattern in own):
        some = ", ".join(there[:3])
        raise UsageError(f"{directory}: holds other files ({some}); give {kind} a directory of its own")


def refuse_taken(run: Path) -> None:
    """Raise UsageError, as `refuse_mixing`, when a directory in which no run has begun holds other files."""
    refuse_mixing(run, "a run")
    others = [
        path.name for path in sorted(run.glob("[!.]*")) if not any(fnmatch(path.name, own) for own in OF_RUNS)
    ]
    if others and not (run / "attempts").exists():
        raise UsageError(
            f"{run}: holds other files ({', '.join(others[:3])}); give the run a directory of its own"
        )
