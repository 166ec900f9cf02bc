"""Patterns of paths in robots.txt (RFC 9309, section 2.2.2) and tdmrep.json, which took them over."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

_LITERAL = "/?#[]@!&'()+,;=:%"
"""What stands for itself in a path, beside letters, digits and `-._~`. Not among them: `*` and `$`."""
_PLAIN = re.compile(r"[A-Za-z0-9._~/-]*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class PathPattern:
    """The beginning of a path, where `*` is any text and a last `$` the end.

    pieces: what stands between the asterisks. octets: its length, by which the longest match is found.

    >>> [PathPattern.of(text).matches("/a/b.html") for text in ("/a/", "/*.html$", "/a$", "*b*", "/b", "")]
    [True, True, False, True, False, True]
    """

    pieces: tuple[str, ...]
    anchored: bool
    octets: int

    @staticmethod
    def of(text: str) -> PathPattern:
        """Read a pattern as it stands in a file."""
        body = text.removesuffix("$")
        pieces = tuple(_normal(body, _LITERAL + "*").split("*"))
        anchored = body != text
        return PathPattern(pieces, anchored, sum(map(len, pieces)) + len(pieces) - 1 + anchored)

    def matches(self, path: str) -> bool:
        """Whether a path (`path_of`) begins so. It takes no longer than the path has pieces to find."""
        first, *others = self.pieces
        if not path.startswith(first):
            return False
        if not others:
            return path == first or not self.anchored
        place, last = len(first), others.pop()
        for piece in others:  # the leftmost match leaves the most room for the rest
            if (place := path.find(piece, place)) < 0:
                return False
            place += len(piece)
        if self.anchored:
            return len(path) - len(last) >= place and path.endswith(last)
        return path.find(last, place) >= 0


def path_of(url: str) -> str:
    """The path and the query of a URL, in the spelling that patterns are matched with.

    >>> path_of("http://a.test"), path_of("http://a.test/%7ea/caf%c3%a9?b=*&c#d")
    ('/', '/~a/caf%C3%A9?b=%2A&c')
    """
    parts = urlsplit(url)
    return _normal(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", _LITERAL)


def _normal(text: str, literal: str) -> str:
    """One spelling of what means the same: octets beyond ASCII escaped, unreserved ones not.

    In a query `:` and `/` are escaped, too (RFC 9309, table 1).

    >>> _normal("/caf\u00e9/%62?c=http://d%2Fe", _LITERAL)
    '/caf%C3%A9/b?c=http%3A%2F%2Fd%2Fe'
    """
    if _PLAIN.fullmatch(text):  # as nearly all are
        return text
    path, mark, query = _ESCAPE.sub(_spelt, quote(text, safe=literal)).partition("?")
    return path + mark + query.replace(":", "%3A").replace("/", "%2F")


def _spelt(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()
