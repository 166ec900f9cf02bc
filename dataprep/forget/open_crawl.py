"""A crawl that was stopped loses what is forgotten, too, and goes on without it.

Its journals lose the lines of links that go, and their records in the WARC files become fillers. Journals of
partitions that are committed are of no use any more, and go.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from dataprep.corpus.directory import Increment
from dataprep.crawl.journal import Line
from dataprep.crawl.unfinished import fetches, journals
from dataprep.forget import warcs
from dataprep.forget.scope import Scope
from dataprep.warc.filler import filled


def without(increment: Increment, root: Path, scope: Scope) -> tuple[dict[str, str], list[str]]:
    """Write what takes the place of journals and WARC files in which something goes.

    Returns new name -> the name that stands, and what goes; all relative to the corpus.
    """
    found = journals(increment)
    useless = [path for path in (increment.path / "pages").glob("*.journal") if path not in found]
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
    renames = {str(_copy(path).relative_to(root)): str(path.relative_to(root)) for path in changed}
    return renames, sorted(str(path.relative_to(root)) for path in useless)


def _goes(line: Line, scope: Scope) -> bool:
    return line.fetch.url_key in scope.keys or line.fetch.site in scope.sites


def _copy(path: Path) -> Path:
    return path.with_name(f".{path.name}.filled")
