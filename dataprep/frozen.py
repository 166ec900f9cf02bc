"""The collect section of a corpus, frozen: what closed increments were collected by must still stand.

Facts of two recipes in one corpus would be a mixture that nothing tells apart, so `increment.json` keeps the
section of its time, and whatever goes on from those facts refuses a recipe.yaml that was edited since.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import xxhash

from dataprep.corpus import RECIPE, Corpus
from dataprep.errors import DataError
from dataprep.recipe import Collect, plain, validated


def kept(collect: Collect) -> dict[str, Any]:
    """What increment.json says of the collect section: all of it, and the hash of that as canonical JSON."""
    section = json.loads(json.dumps(plain(collect), default=str))
    canonical = json.dumps(section, sort_keys=True).encode()
    return {"collect": section, "collect_xxh3_128": xxhash.xxh3_128_hexdigest(canonical)}


def refuse_edits(corpus: Corpus) -> None:
    """Raise DataError that names what was edited since an increment was closed.

    A setting that an older version did not have counts as its default.
    """
    now = kept(corpus.recipe.collect)
    for path in (each.path / "increment.json" for each in corpus.increments() if each.closed):
        then = kept(validated(Collect, json.loads(path.read_bytes())["collect"], str(path)))
        if then["collect_xxh3_128"] != now["collect_xxh3_128"]:
            changes = "; ".join(_changes("collect", then["collect"], now["collect"]))
            raise DataError(
                f"{corpus.root / RECIPE}: was edited since {path.parent.name} was collected: "
                f"{changes}. Put it back, or make another corpus: what is collected is frozen"
            )


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
