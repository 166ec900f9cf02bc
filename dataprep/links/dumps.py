"""Read dumps of Reddit submissions in every form they have taken since 2005.

NDJSON, compressed or not (`decompress`). Nothing ends silently: what cannot be read is counted and described
in a `FileDamage`, and everything before it is delivered. Memory: a few chunks and the longest line, and the
decompressor's window.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dataprep.corpus.directory import name_after
from dataprep.errors import UsageError
from dataprep.store.decompress import TOO_LONG, Unreadable, decompressed
from dataprep.store.file_damage import FileDamage
from dataprep.store.loose_json import loose_object, loose_struct

LONGEST_LINE_BYTES = 64 << 20
COMMENTS = "it is a dump of comments: they have `body` and `link_id`; give that of the submissions, RS_..."
FIRST_LINES = 10
"""Of these the first that is an object shows what a dump holds."""
LARGEST_NUMBER = 1 << 40
"""Beyond it nothing is a score or a time; sums of millions of them still fit 64 bits."""
NEWLINE = ord("\n")

Number = int | float | str | None
Flag = Any


class Submission(msgspec.Struct, gc=False):
    """The fields of a submission that the pipeline uses, as loosely typed as the dumps are.

    Each time has its own marks of removal: `removed_by_category` (since 2019), `banned_by` and
    `removal_reason` (before), the text `[removed]` or `[deleted]`.
    """

    id: str
    banned_by: Flag = None
    created_utc: Number = None
    is_self: Flag = None
    over_18: Flag = None
    removal_reason: Flag = None
    removed_by_category: Flag = None
    score: Number = None
    selftext: str | None = None
    subreddit: str | None = None
    url: str | None = None


_CUT = re.compile(rb"\s*\{[^\n]*[^}\s]\s*")
"""A line that begins as an object and does not end as one. Only a file's last line may have no end."""


def increment_name(dump: Path) -> str:
    """What an increment is called after its first dump.

    >>> increment_name(Path("RS_2013-08.zst")), increment_name(Path("dumps/RS_v2_2010-06.xz"))
    ('2013-08', '2010-06')
    """
    return name_after(dump.name.removeprefix("RS_").removeprefix("v2_"), "dumps")


def refuse_missing(dumps: Iterable[Path]) -> None:
    """Raise UsageError for a dump that is not there, or is a directory."""
    for dump in dumps:
        if dump.is_dir():
            raise UsageError(f"{dump}: is a directory; name the dumps in it")
        if not dump.is_file():
            raise UsageError(f"{dump}: no such dump")


def read_dump(path: Path, damage: FileDamage) -> Iterator[list[Submission]]:
    """Yield the submissions of one dump in file order, many at once, and note in `damage` what was bad.

    Of a dump of comments it yields nothing. Raises OSError when the file cannot be opened at all.
    """
    decoder = msgspec.json.Decoder(Submission)
    for number, block in enumerate(_blocks(path, damage)):
        if number == 0 and _holds_comments(block):
            damage.stopped = COMMENTS
            return
        ends = np.count_nonzero(np.frombuffer(block, np.uint8) == NEWLINE)  # bytes.count is 5 times slower
        lines = int(ends) + (not block.endswith(b"\n"))
        try:
            submissions = decoder.decode_lines(block)
        except (ValueError, RecursionError):  # ValueError: no JSON, a wrong type, no UTF-8
            submissions = []
        if len(submissions) == lines:
            damage.lines += lines
            yield submissions
        else:  # one bad line spoils its block only for the fast way
            bad = damage.bad_lines
            yield list(_line_by_line(block, decoder, damage))
            cut = not block.endswith(b"\n") and _CUT.fullmatch(block)
            if damage.bad_lines > bad and not damage.stopped and cut:
                damage.stopped = f"ends within line {damage.lines:,}"


def number(value: Number) -> int | None:
    """A whole number from what a dump holds: 3, 3.0, "3"; None when it is none of these.

    >>> number("12"), number(3.0), number("many"), number(1e300)
    (12, 3, None, None)
    """
    try:
        whole = None if value is None else int(float(value))
    except (ValueError, OverflowError):
        return None
    return whole if whole is not None and abs(whole) < LARGEST_NUMBER else None


def true(value: Flag) -> bool:
    """Whether a dump says yes: true, 1, "true"; "false" and "0" are no."""
    return value.lower() in ("true", "t", "1") if isinstance(value, str) else bool(value)


def _holds_comments(block: bytes) -> bool:
    """Whether lines are comments: they have ids, scores and times as submissions, but no URLs."""
    for line in block.split(b"\n", FIRST_LINES)[:FIRST_LINES]:
        try:
            fields = loose_object(line)
        except (ValueError, RecursionError):
            continue
        return "body" in fields and "link_id" in fields and "url" not in fields
    return False


def _line_by_line(
    block: bytes, decoder: msgspec.json.Decoder[Submission], damage: FileDamage
) -> Iterator[Submission]:
    for line in block.removesuffix(b"\n").split(b"\n"):
        damage.lines += 1
        if not line.strip():
            continue
        try:
            submission = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            try:
                submission = loose_struct(line, Submission, decisive=("url",))
            except (ValueError, RecursionError):
                damage.note(f"line {damage.lines:,}", error)
                continue
        yield submission


def _blocks(path: Path, damage: FileDamage) -> Iterator[bytes]:
    """Cut a dump into runs of whole lines; on a read error say where it was, after what could be read."""
    rest: list[bytes] = []
    rest_bytes = text_bytes = 0
    with path.open("rb") as file:
        try:
            for chunk in decompressed(file):
                text_bytes += len(chunk)
                end = chunk.rfind(b"\n") + 1
                if end:
                    yield b"".join([*rest, chunk[:end]])
                    rest, rest_bytes = [], 0
                    chunk = chunk[end:]
                rest.append(chunk)
                rest_bytes += len(chunk)
                if rest_bytes > LONGEST_LINE_BYTES:
                    rest, rest_bytes = [TOO_LONG], 0
        except (Unreadable, OSError) as error:
            damage.stopped = f"unreadable after {text_bytes:,} bytes of text: {error}"
    if not text_bytes and not damage.stopped:
        damage.stopped = "the file is empty"
    if last := b"".join(rest):
        yield last
