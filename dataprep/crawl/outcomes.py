"""The words in which a fetch can end, and which of them may be different next time."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What an outcome means for a later round."""

    DONE = "done"
    PERMANENT = "permanent"
    TEMPORARY = "temporary"


OUTCOMES: dict[str, Kind] = {
    "ok": Kind.DONE,
    "moved": Kind.DONE,  # off the site: the new address is queued to its own site's owner
    # The page or its server said no.
    "not_found": Kind.PERMANENT,  # 404, 410
    "http_error": Kind.PERMANENT,  # any other status that is neither a page nor a redirect
    "robots_denied": Kind.PERMANENT,
    "opted_out": Kind.PERMANENT,  # of training, by noai or a TDM reservation
    "forgotten": Kind.PERMANENT,  # redirects to what the corpus has forgotten
    "wrong_type": Kind.PERMANENT,
    "too_large": Kind.PERMANENT,
    "redirect_loop": Kind.PERMANENT,  # or longer than the limit
    # What came is not HTTP as it should be.
    "bad_url": Kind.PERMANENT,
    "bad_http": Kind.PERMANENT,
    "bad_encoding": Kind.PERMANENT,
    # There is nobody there, or nobody whom we would talk to.
    "no_such_host": Kind.PERMANENT,
    "refused_address": Kind.PERMANENT,
    "refused_port": Kind.PERMANENT,
    "tls_error": Kind.PERMANENT,
    # Worth another try.
    "dns_error": Kind.TEMPORARY,  # the resolver failed, which is no evidence about the host
    "connect_error": Kind.TEMPORARY,
    "proxy_error": Kind.TEMPORARY,  # our own proxy, or its way to the host
    "timeout": Kind.TEMPORARY,
    "incomplete": Kind.TEMPORARY,  # the body broke off
    "server_error": Kind.TEMPORARY,  # 5xx, 408, 425, 429
    "robots_unavailable": Kind.TEMPORARY,
    # Of an archive that is read by byte range; the live web may have the page.
    "not_in_archive": Kind.TEMPORARY,
    "bad_capture": Kind.TEMPORARY,  # the range holds no whole record of the page
    "deferred": Kind.TEMPORARY,  # the round ended or the site kept failing before its turn came
}

NOBODY_THERE = frozenset(
    "no_such_host dns_error connect_error proxy_error tls_error refused_address refused_port bad_url".split()
)
"""What any page of the host would meet as well, its robots.txt first."""

UNREACHED = frozenset("connect_error dns_error no_such_host proxy_error robots_unavailable timeout".split())
"""What a machine that is cut off from the web sees; it defers the rest of a site after some."""

GONE = frozenset(
    "not_found no_such_host connect_error timeout server_error tls_error bad_http incomplete "
    "bad_encoding redirect_loop robots_unavailable".split()
)
"""The page or its server is not there any more, or out of order: an archive may have it.

Not among them: what a site does not want (robots.txt, 403), what is no page, and what had no turn yet.
"""


def is_temporary(outcome: str) -> bool:
    """Whether the same URL is worth fetching again in a later round."""
    return OUTCOMES[outcome] is Kind.TEMPORARY


def outcome_of_status(status: int) -> str:
    """The word for a status that brought no page and no redirect.

    >>> [outcome_of_status(status) for status in (404, 403, 503, 429)]
    ['not_found', 'http_error', 'server_error', 'server_error']
    """
    if status in (404, 410):
        return "not_found"
    if status >= 500 or status in (408, 425, 429):
        return "server_error"
    return "http_error"


class NotFetched(Exception):
    """A request that brought no page: its outcome word, the status if any, and why.

    retry_after_s: how long the server asked to be left alone.
    """

    def __init__(
        self,
        outcome: str,
        detail: str = "",
        *,
        status: int = 0,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail.encode("utf-8", "replace").decode()  # servers send bytes that are no text
        self.status = status
        self.retry_after_s = retry_after_s
