"""Named configurations: `configs/` of the repository, or what the wheel carries of it."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UsageError

_INSTALLED = Path(__file__).parents[1] / "configs"
ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "configs"


def find(kind: str, name: str) -> Path:
    """The file of a configuration: a path that exists, or a name under `configs/KIND/`.

    Raises UsageError that lists the names there are.
    """
    if Path(name).is_file():
        return Path(name)
    path = ROOT / kind / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in (ROOT / kind).glob("*.yaml")))
        raise UsageError(f"{name}: no such file, and not one of the {kind} in {ROOT / kind}: {names}")
    return path
