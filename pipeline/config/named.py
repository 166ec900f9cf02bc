"""Shipped configurations: `configs/` of the repository, or what the wheel carries of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError

_INSTALLED = Path(__file__).parents[1] / "configs"
ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "configs"

_END_OF_TITLE = re.compile(r":(?= )|\.(?= |$)(?<!al\.)")


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A configuration that comes with outbound; `kind` is its folder."""

    kind: str
    name: str
    path: Path

    @property
    def about(self) -> str:
        """What it is: the title in the comment that begins the file."""
        return title(self.path.read_text(encoding="utf-8"))


def shipped() -> list[Shipped]:
    """All configurations that come with outbound, by kind and name."""
    return [
        Shipped(kind=path.parent.name, name=path.stem, path=path) for path in sorted(ROOT.glob("*/*.yaml"))
    ]


def find(kind: str, name: str) -> Path:
    """The file of a configuration: a path that exists, or a name under `configs/KIND/`.

    Raises UsageError that lists the names there are.
    """
    if Path(name).is_file():
        return Path(name)
    path = ROOT / kind / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(config.name for config in shipped() if config.kind == kind)
        raise UsageError(f"{name}: no such file, and not one of the {kind} in {ROOT / kind}: {names}")
    return path


def named(name: str) -> Shipped:
    """The one configuration of a name, which may be KIND/NAME.

    Raises UsageError when none has it, or several have.
    """
    found = [config for config in shipped() if name in (config.name, f"{config.kind}/{config.name}")]
    if len(found) == 1:
        return found[0]
    if found:
        kinds = " or ".join(f"{config.kind}/{config.name}" for config in found)
        raise UsageError(f"{name}: several configurations have this name; give {kinds}")
    raise UsageError(f"{name}: no configuration has this name; `outbound recipes` lists them")


def title(text: str) -> str:
    """The comment that begins a YAML text, up to its first colon or full stop; "" without one.

    >>> title("# WebText (Radford et al. 2019): links\\n# with karma\\nname: x"), title("name: x")
    ('WebText (Radford et al. 2019)', '')
    """
    lines = []
    for line in text.splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("#").strip())
    return _END_OF_TITLE.split(" ".join(lines), maxsplit=1)[0]
