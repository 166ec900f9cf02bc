"""What a crawl may do: its name, its pace and its limits."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from dataprep.corpus.recipe import Crawl
from dataprep.corpus.tombstones import NOTHING, Forgotten

WEB_PORTS = frozenset([80, 443, 8000, 8008, 8080, 8081, 8443, 8888])
"""Where web servers are; behind other ports are services that a link must not make us poke."""


class CrawlSettings(BaseModel):
    """Limits of a crawl; times in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str = Field(default="outbound", pattern=r"^[A-Za-z_-]+$")
    """Product token (RFC 9309, section 2.2.1): what robots.txt groups are matched against."""
    contact: str = ""
    """An e-mail address or page for webmasters; without it only loopback is contacted."""

    concurrency: int = Field(default=256, ge=1)
    """Sites that are crawled at once."""
    site_concurrency: int = Field(default=1, ge=1)
    """Requests under way at once on one site."""
    delay_s: float = Field(default=1.0, ge=0)
    """Least time between the end of one request to a site and the start of the next."""
    max_delay_s: float = Field(default=60.0, ge=0)
    """Longest Crawl-delay or Retry-After that is waited for; a longer one counts as this."""
    retries: int = Field(default=1, ge=0)
    """Further attempts at a request that failed for a temporary reason."""
    backoff_s: float = Field(default=2.0, ge=0)
    """Pause of a site before its first retry; doubled for each further one, with jitter."""
    site_failures: int = Field(default=10, ge=1)
    """Temporary failures in a row after which the rest of a site is deferred."""
    busy_s: float = Field(default=600.0, ge=0)
    """How long, when all else is done, a site is waited for that another process is at."""
    hours: float | None = Field(default=None, ge=0)
    """Time budget of a call; what has not begun by then is deferred. None: no limit."""

    dns_lookups: int = Field(default=32, ge=1)
    """Names looked up at once: enough that dead ones, which take seconds, do not hold up the rest."""
    dns_keep_s: float = Field(default=300.0, ge=0)
    """How long an answer of DNS is kept, also that there is no such host."""

    connect_s: float = Field(default=15.0, gt=0)
    """TCP and TLS together."""
    silence_s: float = Field(default=20.0, gt=0)
    """Longest wait for the next bytes, the first included."""
    total_s: float = Field(default=Crawl().total_timeout_s, gt=0)
    """One request from start to last byte; what stops a server that drips."""
    wire_bytes: int = Field(default=8 << 20, gt=0)
    """Largest body as sent."""
    page_bytes: int = Field(default=Crawl().max_bytes, gt=0)
    """Largest body after decompression."""
    max_redirects: int = Field(default=Crawl().max_redirects, ge=0)
    content_types: frozenset[str] = frozenset(["text/html", "application/xhtml+xml", "text/plain"])

    warc_bytes: int = Field(default=1 << 30, gt=0)
    """A WARC file that has reached this size is closed and the next begun."""

    archive: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """A Wayback-style archive that is asked for dead links; none: they stay dead."""
    archive_first: bool = False
    """Ask the archive before the live site, not after it has failed."""

    forgotten: Forgotten = NOTHING
    """What redirects must not lead to (`corpus forget`)."""
    allow_loopback: bool = False
    """Let connections go to this machine: for tests, demos and local mirrors."""
    ports: frozenset[int] = WEB_PORTS
    """Ports that URLs may name."""
    proxy: str = Field(default="", pattern=r"^(http://.+)?$")
    """`http://[NAME:PASSWORD@]HOST:PORT` through which all goes (CONNECT for https); "": none.

    The proxy then resolves the names, so addresses behind names are its business; hosts written as addresses
    are still checked here."""
    connect_to: tuple[str, ...] = ()
    """`HOST1:PORT1:HOST2:PORT2`, as curl's --connect-to; an empty HOST1 or PORT1 matches any."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) that are trusted beside the system's."""

    @property
    def user_agent(self) -> str:
        """The User-Agent header: who crawls, and where to complain."""
        contact = f"; +{self.contact}" if self.contact else ""
        return f"Mozilla/5.0 (compatible; {self.agent}{contact})"
