"""The collect section of a corpus, frozen at its creation: a recipe.yaml that was edited since is refused.

Facts of two recipes in one corpus would be a mixture that nothing tells apart, so the section stands once
more in a file of its own, which no user has a reason to edit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataprep import yaml_settings
from dataprep.corpus.recipe import Collect, plain
from dataprep.errors import DataError, UsageError
from dataprep.store.checksummed_json import RESTORE, dump, load
from dataprep.store.files import write_once

FROZEN = "collect.json"


def freeze(root: Path, collect: Collect) -> None:
    """Write down what a corpus collects; nothing changes when that was done before."""
    write_once(root / FROZEN, dump(_section(collect)))


def refuse_edits(root: Path, collect: Collect) -> None:
    """Raise DataError that names what of a corpus's collect section was edited since its creation.

    A setting that an older version did not have counts as its default.
    """
    frozen = load(root / FROZEN, dict[str, Any])
    try:
        then = _section(yaml_settings.checked(Collect, frozen, str(root / FROZEN)))
    except UsageError as error:  # nobody edits this file: it is damaged, or of a newer version
        raise DataError(f"{error}; {RESTORE}") from None
    if changes := "; ".join(_changes("collect", then, _section(collect))):
        raise DataError(
            f"{root}: its recipe.yaml was edited: {changes}. Put it back, or make another corpus: what is "
            "collected is frozen"
        )


def _section(collect: Collect) -> Any:
    return json.loads(json.dumps(plain(collect), default=str))


def _changes(where: str, then: Any, now: Any) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in {**then, **now}:
            yield from _changes(f"{where}.{key}", then.get(key), now.get(key))
    elif isinstance(then, list) and isinstance(now, list):
        if then != now:
            added = [entry for entry in now if entry not in then]
            removed = [entry for entry in then if entry not in now]
            yield f"{where} gained {added} and lost {removed}"
    elif then != now:
        yield f"{where} was {then!r} and is {now!r}"
