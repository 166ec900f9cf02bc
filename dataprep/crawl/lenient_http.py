"""Responses that aiohttp's parser refuses, parsed once more from the same bytes as browsers would.

aiohttp's own parser reads every response first, and nearly all of them alone. Where it refuses a head, or the
first line of a chunked body, `http_response.parse_head` reads the bytes that have come, and aiohttp's payload
parser what follows. Then the connection is closed, so that what was read with less care decides nothing about
a later answer. No request is sent again. What stays unclear is refused as before: two lengths, a zero byte,
no status line, more than HEAD_BYTES.

aiohttp has no public place for this (versions seen: 3.14): `LenientConnector` sets the factory of its
protocols, and `LenientProtocol` replaces the parser that `set_response_params` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import ClientPayloadError, ClientResponse, HttpVersion, StreamReader, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import HeadersParser, HttpPayloadParser
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy

from dataprep.warc.http_response import HEAD_BYTES, BadHead, Head, head_end, parse_head

LINE_BYTES = 32 << 10
"""Longest line that aiohttp's parser takes. It holds 128 of a head, and of trailers, at most;
a larger head is read leniently."""

_NO_BODY = frozenset([204, 304])

Fed = tuple[Any, bool, bytes]
"""What a parser returns for data: messages with payloads, whether the protocol changes, and the rest."""
_NOTHING: Fed = (), False, b""


class LenientConnector(TCPConnector):
    """A connector whose connections read leniently what aiohttp's parser refuses."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        protocol: Callable[..., ResponseHandler] = LenientProtocol
        self._factory = partial(protocol, loop=self._loop)


class LenientResponse(ClientResponse):
    """A response; `odd_head` is its head as it was received, if it had to be read leniently, else empty."""

    odd_head = b""

    async def start(self, connection: Connection) -> ClientResponse:
        protocol = connection.protocol
        await super().start(connection)
        if isinstance(protocol, LenientProtocol):
            self.odd_head = protocol.odd_head
        return self


class LenientProtocol(ResponseHandler):
    """A connection; `odd_head` is the head of the last response, if it had to be read leniently."""

    odd_head = b""

    def set_response_params(self, **params: Any) -> None:
        self.odd_head = b""
        early, self._tail = self._tail, b""  # what came before the request is parsed by the new parser, too
        super().set_response_params(**params)
        limit, timer = params.get("read_bufsize", 1 << 16), params.get("timer")
        make = partial(StreamReader, self, limit, timer=timer, loop=self._loop)
        self.go_on_with(_FirstTry(self, self._parser, make))
        self._tail = early
        self._drain_tail()

    def go_on_with(self, parser: Any) -> None:
        """Give all further data to a parser."""
        self._parser = parser


class _FirstTry:
    """aiohttp's parser until it has taken the head, and of a chunked body the first size."""

    def __init__(self, protocol: LenientProtocol, strict: Any, make_payload: Any) -> None:
        self._protocol = protocol
        self._strict = strict
        self._make_payload = make_payload
        self._seen = b""
        self._searched = 0
        self._refusal: HttpProcessingError | None = None
        self._begun: StreamReader | None = None
        """The body of a message that was handed out, and of which nothing has come."""

    def feed_data(self, data: bytes) -> Fed:
        self._seen += data
        if self._refusal is None:
            try:
                fed: Fed = self._strict.feed_data(data)
            except HttpProcessingError as error:
                self._refusal = error
            else:
                self._pass_on(fed[0])
                return fed
        return self._again(self._refusal)

    def feed_eof(self) -> Any:
        return self._strict.feed_eof() if self._refusal is None else None

    def pause_reading(self) -> None:
        self._strict.pause_reading()

    def _pass_on(self, messages: Any) -> None:
        """Leave the rest to aiohttp's parser when the head, and the beginning of the body, are good."""
        if messages and not _interim(messages[-1][0].code):
            message, payload = messages[-1]
            self._begun = payload if message.chunked else EMPTY_PAYLOAD
        if self._begun is None:
            if len(self._seen) > HEAD_BYTES:
                raise LineTooLong(self._seen[:100], HEAD_BYTES)
        elif self._begun.is_eof() or self._begun.total_bytes or len(self._seen) > 2 * HEAD_BYTES:
            self._protocol.go_on_with(self._strict)

    def _again(self, refusal: HttpProcessingError) -> Fed:
        """Parse all that has come once more. Raises the refusal where that does not help."""
        while True:
            self._seen = self._seen.lstrip(b"\r\n")
            end = head_end(self._seen, self._searched)
            if end < 0:
                if len(self._seen) > HEAD_BYTES or not _may_be_status(self._seen):
                    raise refusal
                self._searched = max(0, len(self._seen) - 5)  # the empty line may have come in part
                return _NOTHING
            raw, self._seen, self._searched = self._seen[:end], self._seen[end:], 0
            try:
                head = parse_head(raw)
                length = head.length
            except BadHead:
                raise refusal from None
            if len(raw) > HEAD_BYTES or b"\0" in raw or head.status == 101:
                raise refusal
            if not _interim(head.status):
                break
        payload = self._begun or (EMPTY_PAYLOAD if head.status in _NO_BODY else self._make_payload())
        body = _Body(payload, length, chunked=head.chunked)
        self._protocol.odd_head = raw
        self._protocol.go_on_with(body)
        self._protocol.force_close()
        body.feed_data(self._seen)
        return _NOTHING if self._begun else ([(_message(head), payload)], False, b"")


class _Body:
    """A body behind a head that was read leniently; what follows it is nobody's answer and is dropped."""

    def __init__(self, payload: StreamReader, length: int | None, *, chunked: bool) -> None:
        trailers = HeadersParser(LINE_BYTES, max_field_size=LINE_BYTES, lax=True)
        self._payload = payload
        self._parser = HttpPayloadParser(
            payload, length, chunked, lax=True, auto_decompress=False, headers_parser=trailers
        )

    def feed_data(self, data: bytes) -> Fed:
        if not self._payload.is_eof():
            try:
                self._parser.feed_data(data, b"\n")
            except HttpProcessingError as error:
                self._payload.set_exception(ClientPayloadError(str(error)), error)
        return _NOTHING

    def feed_eof(self) -> None:
        if not self._payload.is_eof():
            self._parser.feed_eof()

    def pause_reading(self) -> None:
        self._parser.pause_reading()


def _interim(status: int) -> bool:
    return 100 <= status < 200 and status != 101


def _may_be_status(data: bytes) -> bool:
    """Whether the beginning of a head may yet become a status line."""
    return b"HTTP".startswith(data[:64].lstrip()[:4].upper())


def _message(head: Head) -> RawResponseMessage:
    """A message of aiohttp's, whose headers say of the body's length just what counts."""
    headers = CIMultiDict(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in head.headers
    )
    headers.popall("Content-Length", None)
    if head.length is not None:
        headers["Content-Length"] = str(head.length)
    reason = head.reason.decode("utf-8", "surrogateescape")
    return RawResponseMessage(
        HttpVersion(*head.version),
        head.status,
        reason,
        CIMultiDictProxy(headers),
        head.headers,
        True,
        None,
        False,
        head.chunked,
    )
