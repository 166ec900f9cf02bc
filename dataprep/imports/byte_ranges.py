"""Records of an archive by byte range: the plan of `cdx` to pages of the increment, member for member.

A record is asked for by an HTTP Range request, or read from a folder, and taken verbatim if it is one whole
gzip member of just that page. Several requests are under way, but members are appended in the order of the
plan, and a journal says how far they reach: a call after a kill goes on there, and ends with the same bytes.
Memory: the records under way, and a row for each link of the partition.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import msgspec
import pyarrow as pa
from yarl import URL

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Collect
from dataprep.crawl import rounds
from dataprep.crawl.client import not_fetched, read_up_to, retry_after
from dataprep.crawl.journal import Line, cut, is_whole_members, whole_lines
from dataprep.crawl.lenient_http import LINE_BYTES, LenientConnector
from dataprep.crawl.outcomes import OUTCOMES, UNREACHED, NotFetched, outcome_of_status
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Fetch
from dataprep.errors import DataError, UsageError
from dataprep.imports.captures import PAGES, NoPage, page_of
from dataprep.imports.cdx import IndexNotes, Wanted
from dataprep.ip_addresses import is_loopback_host
from dataprep.store.files import publish, publish_table
from dataprep.store.locks import NO_LOCKS_HERE
from dataprep.store.records import Record, commit, done
from dataprep.warc.reader import RECORD_BYTES, Damaged, record_in

RETRIES = 2
"""Further attempts at a range that was cut, shifted or refused."""

Read = Callable[[str, int, int], Awaitable[bytes]]
"""read(filename, offset, length): those bytes of a file of the archive. Raises NotFetched."""


@dataclass(frozen=True)
class Archive:
    """Where the files of an index are: a URL that their names follow, or a folder. Settings as of a crawl."""

    base: str
    settings: CrawlSettings

    @staticmethod
    def of(base: str, *, contact: str, concurrency: int, delay_s: float) -> Archive:
        """An archive that is asked as `corpus import` says: so many requests at once, so often.

        Raises UsageError when it cannot be asked like this.
        """
        if not base:
            raise UsageError(
                "--kind cdx: where are the files that the index names? give --base URL or FOLDER"
            )
        pace = {"contact": contact, "site_concurrency": concurrency, "delay_s": delay_s}
        return Archive(base, CrawlSettings.load(pace).model_copy(update={"retries": RETRIES}))

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if parts.scheme in ("http", "https"):
            if not self.settings.contact and not is_loopback_host(parts.hostname or ""):
                raise UsageError(
                    f"{self.base}: public archives are asked only with a --contact, for their operators"
                )
        elif not self.folder.is_dir():
            raise UsageError(f"{self.base}: is no http or https URL, and no folder")

    @property
    def folder(self) -> Path:
        """The folder that the files are in, if they are in one."""
        return Path(unquote(urlsplit(self.base).path) if self.base.startswith("file:") else self.base)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Read]:
        """Open the archive; gives the function that reads a range of one of its files."""
        if not self.base.startswith(("http://", "https://")):
            yield self._read_file
            return
        settings = self.settings
        timeout = aiohttp.ClientTimeout(
            settings.total_timeout_s,
            sock_connect=settings.connect_timeout_s,
            sock_read=settings.read_timeout_s,
        )
        async with aiohttp.ClientSession(
            connector=LenientConnector(),
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            timeout=timeout,
            headers={"User-Agent": settings.user_agent},
            auto_decompress=False,
        ) as session:
            yield partial(self._request, session)

    async def _read_file(self, filename: str, offset: int, length: int) -> bytes:
        folder = self.folder.resolve()
        path = (folder / filename).resolve()
        if not path.is_relative_to(folder):
            raise NotFetched("bad_url", f"{filename[:200]} leads out of {folder}")
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except FileNotFoundError:
            raise NotFetched("not_found", f"{path}: no such file") from None
        except OSError as error:
            raise NotFetched("incomplete", f"{path}: {error.strerror}") from None

    async def _request(
        self, session: aiohttp.ClientSession, filename: str, offset: int, length: int
    ) -> bytes:
        url = URL(f"{self.base.rstrip('/')}/{quote(filename)}", encoded=True)
        wanted = f"bytes {offset}-{offset + length - 1}/"
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        try:
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                status = response.status
                if status != 206:
                    outcome = "bad_capture" if status == 200 else outcome_of_status(status)
                    pause_s = retry_after(response.headers.get("Retry-After", ""))
                    raise NotFetched(
                        outcome, f"{status} to a Range request", status=status, retry_after_s=pause_s
                    )
                given = response.headers.get("Content-Range", "")
                if not given.startswith(wanted):
                    raise NotFetched("bad_capture", f"Content-Range {given[:100]!r}", status=status)
                body, _ = await read_up_to(response, length)
                return body
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise not_fetched(error) from None


def fetch_part(
    corpus: Corpus,
    increment: Increment,
    number: int,
    plan: list[Wanted],
    archive: Archive,
    *,
    inputs: dict[str, str],
    notes: IndexNotes | None,
    tick: Callable[[int], None],
) -> Record:
    """Fetch one partition of `cdx.plan`; `tick` counts links. notes: for its record.

    Raises DataError when the archive does not answer any more, or another process is at the partition.
    """
    name = f"cdx-{number:05d}"
    path = increment.path / rounds.STEP / f"{name}.json"
    if record := done(path, inputs):
        tick(record.entered)
        return record
    pages = increment.path / "pages"
    with _Members(pages, name) as members:
        missing = sum(not wanted.filename for wanted in plan)
        tick(missing + len(members.rows))
        asked = [wanted for wanted in plan if wanted.filename][len(members.rows) :]
        asyncio.run(_fetch(asked, archive, corpus.recipe.collect, members, tick))
        rows = {row.url_key: row for row in members.rows}
        warcs = [publish(corpus.root, members.path, name, ".warc.gz")] if members.end else []
        stored = warcs[0].path if warcs else ""
        table = pa.Table.from_pylist(
            [_row(rows.get(wanted.url_key) or _missing(wanted), stored) for wanted in plan],
            schema=rounds.SCHEMA,
        )
        outcomes = Counter(table["outcome"].to_pylist())
        passed = outcomes.pop("ok", 0)
        outputs = {"fetches": publish_table(corpus.root, path.parent, name, table)}
        record = Record(
            step=rounds.STEP,
            part=name,
            inputs=inputs,
            outputs=outputs | {f"warc/{Path(warc.path).name}": warc for warc in warcs},
            entered=len(plan),
            passed=passed,
            reasons=dict(outcomes),
            notes=msgspec.to_builtins(notes) if notes else {},
        )
        record = commit(path, record)
        members.forget()
    return record


async def _fetch(
    plan: list[Wanted], archive: Archive, rules: Collect, members: _Members, tick: Callable[[int], None]
) -> None:
    """Fetch links, several at once, and settle them in the order of the plan."""
    settings = archive.settings
    pace = Pace(settings)
    under_way: deque[asyncio.Task[tuple[Fetch, bytes]]] = deque()
    silent = list[tuple[Fetch, bytes]]()

    async def settle() -> None:
        """Take the first result in; failures in a row stay unsettled, as they may be the archive's."""
        row, member = await under_way.popleft()
        silent.append((row, member))
        if row.outcome not in UNREACHED | {"server_error"}:
            flush()
        elif len(silent) >= settings.max_site_failures:
            raise DataError(
                f"{archive.base}: does not answer ({row.outcome} {row.detail}); run again to go on"
            )

    def flush() -> None:
        for row, member in silent:
            members.append(row, member)
            tick(1)
        silent.clear()

    async with archive.reading() as read:
        try:
            for wanted in plan:
                under_way.append(asyncio.create_task(_page(wanted, read, pace, rules)))
                if len(under_way) >= 2 * settings.site_concurrency:
                    await settle()
            while under_way:
                await settle()
        finally:
            for task in under_way:
                task.cancel()
    flush()


async def _page(wanted: Wanted, read: Read, pace: Pace, rules: Collect) -> tuple[Fetch, bytes]:
    """The row of a link and the member that holds its page, if it is one that we may take."""

    async def ask() -> tuple[Fetch, bytes]:
        member = await read(wanted.filename, wanted.offset, wanted.length)
        return checked(wanted, member, rules), member

    try:
        if wanted.length > RECORD_BYTES:
            raise NotFetched("too_large", f"{wanted.length:,} bytes in the archive")
        return await pace.ask(ask)
    except NotFetched as failure:
        return replace(
            _missing(wanted), outcome=failure.outcome, status=failure.status, detail=failure.detail
        ), b""


def checked(wanted: Wanted, member: bytes, rules: Collect) -> Fetch:
    """The row of a link whose page `member` holds. Raises NotFetched unless it is that page, whole and alone.

    `incomplete` and `bad_capture` are worth another try: a server may cut or mistake a range.
    """
    if len(member) != wanted.length:
        raise NotFetched("incomplete", f"{len(member):,} of {wanted.length:,} bytes")
    if not member.startswith(b"\x1f\x8b"):
        raise NotFetched("bad_capture", "no gzip member")
    try:
        record = record_in(member)
    except Damaged:
        raise NotFetched("bad_capture", "not one whole record") from None
    page = page_of(record, rules)
    if isinstance(page, NoPage):
        outcome = page.reason if page.reason in OUTCOMES else "bad_capture"
        raise NotFetched(outcome, page.signal or f"the record is {page.reason}")
    if record.kind not in PAGES or page.link.key != wanted.url_key:
        raise NotFetched("bad_capture", f"holds a {record.kind} of {record.url[:200]}")
    return replace(
        _missing(wanted),
        outcome="ok",
        status=200,
        final_url=page.url,
        content_type=page.content_type,
        warc_length=len(member),
        etag=page.etag,
        last_modified=page.last_modified,
        truncated=page.truncated,
    )


class _Members:
    """The WARC file of a partition that is being made, and the journal of the rows that are settled.

    A row is journalled after its member is written, so no row points at what is not there; what a kill left
    behind the last whole row is cut off. The journal is locked while a process is at it.
    """

    def __init__(self, pages: Path, name: str) -> None:
        pages.mkdir(parents=True, exist_ok=True)
        self.path = pages / f".{name}.part"
        self.rows: list[Fetch] = []
        self.end = 0
        self._journal_path = pages / f".{name}.journal"
        self._journal = self._journal_path.open("ab")
        self._lock()
        self._file = self.path.open("ab")
        self._adopt()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._journal.close()

    def append(self, row: Fetch, member: bytes) -> None:
        """Settle a row, with its member if there is a page."""
        if member:
            row = replace(row, warc_offset=self.end)
            self._file.write(member)
            self._file.flush()
            self.end += len(member)
        self.rows.append(row)
        self._journal.write(msgspec.json.encode(Line(row, end=self.end)) + b"\n")
        self._journal.flush()

    def forget(self) -> None:
        """Remove the journal when the rows are committed."""
        self._journal_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self._journal_path}: another process is at this partition") from None
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise

    def _adopt(self) -> None:
        """Go on behind the last row whose member is whole."""
        settled, ends = whole_lines(self._journal_path)
        size = self.path.stat().st_size
        while settled and not (settled[-1].end <= size and self._is_whole(settled[-1].fetch)):
            settled.pop()
        self.rows = [line.fetch for line in settled]
        self.end = settled[-1].end if settled else 0
        cut(self._journal_path, ends[len(settled) - 1] if settled else 0)
        cut(self.path, self.end)

    def _is_whole(self, row: Fetch) -> bool:
        end = row.warc_offset + row.warc_length
        return row.outcome != "ok" or is_whole_members(self.path, row.warc_offset, end)


def _missing(wanted: Wanted) -> Fetch:
    """The row of a link that the archive does not have."""
    return Fetch(
        url=wanted.url,
        url_key=wanted.url_key,
        site=wanted.site,
        outcome="not_in_archive",
        final_url=wanted.url,
    )


def _row(fetch_: Fetch, warc: str) -> dict[str, Any]:
    return asdict(fetch_) | {"warc_file": warc if fetch_.outcome == "ok" else ""}
