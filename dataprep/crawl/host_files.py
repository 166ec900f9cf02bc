"""The small files that a host keeps for crawlers where a standard says: robots.txt and tdmrep.json."""

from __future__ import annotations

from functools import partial
from itertools import chain

from dataprep.crawl.client import Client, joined, read_up_to, retry_after
from dataprep.crawl.outcomes import NotFetched
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.redirects import REDIRECT_STATUSES, followed
from dataprep.warc.content_encoding import PIECE_BYTES, BadEncoding, TooLarge, decoder

FILE_BYTES = 500 << 10
"""What a crawler must at least read of a robots.txt (RFC 9309, section 2.5); the rest is ignored."""
MAX_REDIRECTS = 5
"""RFC 9309, section 2.3.1.2."""


async def host_file(url: str, client: Client, pace: Pace) -> str:
    """The text of a host's file, "" if it has none (3xx or 4xx, or too many redirects).

    Raises NotFetched while it cannot be known: by the outcome of the request, or as `server_error` when only
    the address that it redirects to cannot be reached, which is no evidence about the host.
    """
    at = url
    try:
        for _ in range(MAX_REDIRECTS + 1):
            text, location = await pace.ask(partial(_read, at, client))
            if not location:
                return text
            at = followed(at, location)
    except NotFetched as failure:
        if at == url:
            raise
        raise NotFetched("server_error", f"{at}: {failure.outcome} {failure.detail}".strip()) from None
    return ""


async def _read(url: str, client: Client) -> tuple[str, str]:
    """The text of a file and the address that it redirects to, at least one of them empty."""
    async with client.response(url, "identity") as response:
        location = response.headers.get("Location", "")
        if response.status in REDIRECT_STATUSES and location:
            return "", location
        # 429 asks for patience, which "4xx: crawl as you like" (RFC 9309, section 2.3.1.3) would not show.
        if response.status >= 500 or response.status == 429:
            raise NotFetched(
                "server_error",
                f"HTTP {response.status}",
                status=response.status,
                retry_after_s=retry_after(response.headers.get("Retry-After", "")),
            )
        if response.status >= 300:
            return "", ""
        body, _ = await read_up_to(response, FILE_BYTES)
        return _text(body, joined(response, "Content-Encoding")), ""


def _text(body: bytes, encoding: str) -> str:
    """Decode a file. A byte order mark must go: it would hide the first line, often `User-agent: *`."""
    text = bytearray()
    try:
        decoding = decoder(encoding, FILE_BYTES + PIECE_BYTES)
        for piece in chain(decoding.decode(body), decoding.finish()):
            text += piece
    except TooLarge:
        pass  # the rest is ignored
    except BadEncoding as error:
        raise NotFetched("bad_encoding", str(error)) from None
    return bytes(text[:FILE_BYTES]).decode("utf-8-sig", errors="replace")
