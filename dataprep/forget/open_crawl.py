"""A crawl that was stopped loses what is forgotten, too, and goes on without it.

Its journals lose the lines of links that go, and their records in the WARC files become fillers. Journals of
partitions that are committed are of no use any more, and go. In the plans of its hops rows are redacted, so
that every partition keeps its links.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from dataprep.corpus.directory import Increment
from dataprep.crawl import hop_plan
from dataprep.crawl.hop_plan import HopPlan
from dataprep.crawl.journal import Line
from dataprep.crawl.unfinished import fetches, journals
from dataprep.redact import warcs
from dataprep.redact.records import redacted
from dataprep.redact.scope import ForgetScope
from dataprep.store.checksummed_json import dump
from dataprep.store.files import Output, hash_file
from dataprep.warc.filler import filled


def without(increment: Increment, root: Path, scope: ForgetScope) -> tuple[dict[str, str], list[str]]:
    """Write what takes the place of journals, WARC files and plans in which something goes.

    Returns new name -> the name that stands, and what goes; all relative to the corpus.
    """
    found = journals(increment)
    useless = [path for path in (increment.path / "pages").glob("*.journal") if path not in found]
    useless += hop_plan.unnamed(increment, root)
    changed = []
    for path, lines in found.items():
        left = [line for line in lines if not _goes(line, scope)]
        if len(left) < len(lines):
            _copy(path).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in left))
            changed.append(path)
    for name in fetches(increment, root)[0]:
        if spans := warcs.going(root / name, name, scope):
            filled(root / name, spans, _copy(root / name))
            changed.append(root / name)
    for plan in hop_plan.standing(increment):
        changed += _redacted(plan, increment, root, scope)
    renames = {str(_copy(path).relative_to(root)): str(path.relative_to(root)) for path in changed}
    return renames, sorted(str(path.relative_to(root)) for path in useless)


def _redacted(plan: HopPlan, increment: Increment, root: Path, scope: ForgetScope) -> list[Path]:
    """Write the files of a plan without what goes, and the plan that knows them; gives those that change."""
    changed = list[Path]()

    @cache  # partitions of one site share a file
    def cleared(output: Output) -> Output:
        table = hop_plan.read(root, output)
        going = scope.rows(table)
        if not going.any():
            return output
        rows = [redacted(row) if goes else row for row, goes in zip(table.to_pylist(), going, strict=True)]
        path = root / output.path
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), _copy(path), compression="zstd")
        changed.append(path)
        return replace(output, bytes=_copy(path).stat().st_size, xxh3_128=hash_file(_copy(path)))

    partitions = [
        replace(
            partition,
            targets=cleared(partition.targets),
            stored=cleared(partition.stored) if partition.stored else None,
        )
        for partition in plan.partitions
    ]
    if changed:
        path = hop_plan.plan_path(increment, plan.hop)
        _copy(path).write_bytes(dump(replace(plan, partitions=partitions)))
        changed.append(path)
    return changed


def _goes(line: Line, scope: ForgetScope) -> bool:
    return line.fetch.url_key in scope.keys or line.fetch.site in scope.sites


def _copy(path: Path) -> Path:
    return path.with_name(f".{path.name}.filled")
