"""What survives a crash: WARC files and, line by line, the rows whose records are in them.

An attempt at a part claims a number by creating `NAME-0003.journal` and writes `NAME-0003-00000.warc.gz` and
on. It appends the records of a page first, then the line that points at them, so that a line never points at
what is not there. After a kill, the next attempt adopts the earlier ones: it keeps the lines that are whole
and point at whole records, and cuts off whatever lies behind them; that is the pages in flight, which it
fetches again. An older attempt that still runs (a node that was thought dead) sees the newer journal before
its next append and stops. No two attempts ever append to one file.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import msgspec
from isal import isal_zlib
from isal.igzip_lib import IsalError

from dataprep.crawl.revisits import Stored
from dataprep.crawl.targets import Fetch
from dataprep.crawl.visit import Visit
from dataprep.crawl.warc_writer import payload_digest, records, reference, warcinfo
from dataprep.errors import DataError


class Superseded(DataError):
    """A newer attempt has taken over the part."""


class Line(msgspec.Struct):
    """A row, the WARC file that its exchanges are in ("" if there are none), and where they end in it.

    digest, encoding: of the payload, where the row's own record holds it.
    """

    fetch: Fetch
    warc: str = ""
    end: int = 0
    digest: str = ""
    encoding: str = ""


_decoder = msgspec.json.Decoder(Line)


class Attempt:
    """An attempt at crawling a part: its own journal and WARC files, append only."""

    def __init__(self, pages: Path, name: str, user_agent: str, warc_bytes: int) -> None:
        """Claim the next number, which tells every earlier attempt to stop."""
        self._pages = pages
        self._name = name
        self._user_agent = user_agent
        self._warc_bytes = warc_bytes
        self._warc: _AppendFile | None = None
        self._warcs_begun = 0
        self.stored = Stored()
        while True:
            self.number = max(_attempts(pages, name), default=0) + 1
            try:
                self._journal = _AppendFile(_journal(pages, name, self.number))
                self._newer = str(_journal(pages, name, self.number + 1))
                return
            except FileExistsError:  # another attempt was quicker
                continue

    def adopt(self) -> list[Fetch]:
        """The rows that earlier attempts finished, in their order.

        Their files are cut to what these rows say; WARC files that no row points into are removed.
        """
        earlier = sorted(number for number in _attempts(self._pages, self._name) if number < self.number)
        lines = [line for number in earlier for line in adopted(self._pages, self._name, number)]
        sizes = {path.name: path.stat().st_size for path in self._pages.glob("*.warc.gz")}
        # A revisit's payload may lie in the file of another attempt, of which more has been cut off.
        lines = [line for line in lines if _payload_end(line.fetch) <= sizes.get(line.fetch.warc_file, 0)]
        for line in lines:
            if line.digest:
                self.stored.add(line.fetch, line.digest, line.encoding)
        return [line.fetch for line in lines]

    def finish(self, visit: Visit) -> Fetch:
        """Archive what a visit brought, then its row; raises Superseded when a newer attempt exists."""
        self._stop_if_superseded()
        page = visit.exchanges[-1] if visit.outcome == "ok" else None
        fetch = Fetch(
            url=visit.target.original or visit.target.url,
            url_key=visit.target.url_key,
            site=visit.target.site,
            outcome=visit.outcome,
            status=visit.status,
            final_url=visit.final_url,
            content_type=page.content_type if page else "",
            etag=page.header("etag") if page else "",
            last_modified=page.header("last-modified") if page else "",
            detail=visit.detail,
        )
        line = Line(fetch)
        if visit.exchanges:
            digest = payload_digest(page.body) if page else ""
            twin = self.stored.of(page, digest) if page and (page.body or page.status == 304) else None
            referred = reference(self._pages / twin.warc_file, twin.warc_offset) if twin else None
            archived = records(visit.exchanges, visit.target.original, digest, referred)
            warc = self._current_warc()
            start = warc.append(archived.members)
            line = Line(fetch, warc=warc.path.name, end=warc.end)
            if twin:
                line.fetch = fetch = replace(
                    fetch,
                    content_type=twin.content_type,
                    warc_file=twin.warc_file,
                    warc_offset=twin.warc_offset,
                    warc_length=twin.warc_length,
                )
            elif page:
                line.fetch = fetch = replace(
                    fetch,
                    warc_file=warc.path.name,
                    warc_offset=start + archived.response_offset,
                    warc_length=archived.response_length,
                )
                line.digest, line.encoding = digest, page.content_encoding
                self.stored.add(fetch, line.digest, line.encoding)
        if visit.outcome != "deferred":  # what was not tried is tried by the next attempt
            self._journal.append(msgspec.json.encode(line) + b"\n")
        return fetch

    def close(self) -> None:
        """Make everything durable."""
        if self._warc is not None:
            self._warc.close()
        self._journal.close()

    def _current_warc(self) -> _AppendFile:
        """The file to append to: the next one when the last has reached its size."""
        if self._warc is not None and self._warc.end >= self._warc_bytes:
            self._warc.close()
            self._warc = None
        if self._warc is None:
            path = self._pages / f"{self._name}-{self.number:04d}-{self._warcs_begun:05d}.warc.gz"
            self._warcs_begun += 1
            self._warc = _AppendFile(path)
            self._warc.append(warcinfo(path.name, self._user_agent))
        return self._warc

    def _stop_if_superseded(self) -> None:
        if os.path.exists(self._newer):
            raise Superseded(f"{self._newer}: another process has taken over {self._name}; this one stops")


def discard(pages: Path, name: str, number: int) -> None:
    """Let no later attempt adopt the rows of an attempt."""
    cut(_journal(pages, name, number), 0)


def warcs_until(pages: Path, name: str, number: int) -> list[Path]:
    """The WARC files of an attempt and of those before it; raises Superseded when there is a newer one."""
    if any(newer > number for newer in _attempts(pages, name)):
        raise Superseded(f"{pages / name}: another process has taken over; this one stops")
    pattern = re.compile(rf"{re.escape(name)}-(\d{{4,}})-\d+\.warc\.gz")
    found = [(path, pattern.fullmatch(path.name)) for path in sorted(pages.glob(f"{name}-*.warc.gz"))]
    return [path for path, match in found if match and int(match[1]) <= number]


def _payload_end(row: Fetch) -> int:
    return row.warc_offset + row.warc_length


def adopted(pages: Path, name: str, number: int) -> list[Line]:
    """The lines of an attempt that stand; its journal and WARC files are cut to them."""
    journal = _journal(pages, name, number)
    lines, ends = whole_lines(journal)
    warcs = {path.name: path for path in pages.glob(f"{name}-{number:04d}-*.warc.gz")}
    kept = _backed_by_records(lines, warcs)
    cut(journal, ends[kept - 1] if kept else 0)
    warc_ends = {line.warc: line.end for line in lines[:kept] if line.warc}
    for warc, path in warcs.items():
        if warc in warc_ends:
            cut(path, warc_ends[warc])
        else:
            path.unlink()
    return lines[:kept]


def whole_lines(journal: Path) -> tuple[list[Line], list[int]]:
    """The lines up to the first that is broken or unfinished, and the offset at which each ends."""
    lines, ends, end = [], [], 0
    with journal.open("rb") as file:
        for text in file:
            try:
                line = _decoder.decode(text)
            except msgspec.DecodeError:
                break
            if not text.endswith(b"\n"):
                break
            end += len(text)
            lines.append(line)
            ends.append(end)
    return lines, ends


def _backed_by_records(lines: list[Line], warcs: dict[str, Path]) -> int:
    """How many lines, from the first, are backed by whole records in the WARC files.

    The last page that was archived is read; all before it were written earlier to the same file, or to one
    that was synced when it was full.
    """
    sizes = {name: path.stat().st_size for name, path in warcs.items()}
    kept = len(lines)
    for index, line in enumerate(lines):
        if line.warc and line.end > sizes.get(line.warc, -1):
            kept = index
            break
    archived = [index for index in range(kept) if lines[index].warc]
    while archived:
        last = archived.pop()
        line = lines[last]
        before = lines[archived[-1]] if archived else None
        start = before.end if before and before.warc == line.warc else 0
        if is_whole_members(warcs[line.warc], start, line.end):
            break
        kept = last
    return kept


def is_whole_members(path: Path, start: int, end: int) -> bool:
    """Whether the bytes from `start` to `end` are whole gzip members, checksums included."""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(end - start)
    while data:
        member = isal_zlib.decompressobj(wbits=31)
        try:
            member.decompress(data)
        except IsalError:  # type: ignore[misc]  # its stub calls the class an instance
            return False
        if not member.eof:
            return False
        data = member.unused_data
    return True


def cut(path: Path, size: int) -> None:
    """Cut a file off at a size, if it is larger."""
    if path.stat().st_size > size:
        os.truncate(path, size)


def _journal(pages: Path, name: str, number: int) -> Path:
    return pages / f"{name}-{number:04d}.journal"


def _attempts(pages: Path, name: str) -> list[int]:
    pattern = re.compile(rf"{re.escape(name)}-(\d{{4,}})\.journal")
    return [int(match[1]) for path in pages.iterdir() if (match := pattern.fullmatch(path.name))]


class _AppendFile:
    """A new file that grows by whole appends; `end` is its size in bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)

    def append(self, data: bytes) -> int:
        """Write all of `data` at the end and return where it begins.

        Raises DataError when the disk refuses (the next attempt cuts what was half written), Superseded when
        the file is not as this process left it: a newer attempt has cut it.
        """
        start = self.end
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}; make room and run again to go on") from error
        self.end += len(data)
        if os.fstat(self._fd).st_size != self.end:
            raise Superseded(f"{self.path}: was cut by a newer attempt; this one stops")
        return start

    def close(self) -> None:
        """Sync to disk and close."""
        os.fsync(self._fd)
        os.close(self._fd)
