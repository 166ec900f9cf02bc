"""Files that change places all at once, as far as a kill can tell.

Everything new is on disk, under other names, before a swap is written down; from then on it is carried out,
by this command or by the next one that is run. Each of its steps can be repeated.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dataprep.store.files import replace


@dataclass
class Swap:
    """renames: from new name to the name that stands; contents: of small files; deletes: what goes then.

    All paths are relative to one directory.
    """

    renames: dict[str, str] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)


def carry_out(root: Path, swap: Swap) -> None:
    """Make the new files current, then delete the old; what is done already is passed over."""
    for new, name in swap.renames.items():
        if (root / new).exists():
            os.replace(root / new, root / name)
    for name, content in swap.contents.items():
        replace(root / name, content.encode())
    for name in swap.deletes:
        (root / name).unlink(missing_ok=True)
