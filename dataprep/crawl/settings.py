"""What a crawl may do: its name, its pace and its limits, from the command line and a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dataprep import yaml_settings
from dataprep.corpus.recipe import Crawl
from dataprep.corpus.tombstones import NO_TOMBSTONES, Forgotten
from dataprep.crawl.routes import parse_route
from dataprep.errors import DataError, UsageError

WEB_PORTS = frozenset([80, 443, 8000, 8008, 8080, 8081, 8443, 8888])
"""Where web servers are; behind other ports are services that a link must not make us poke."""


class CrawlSettings(BaseModel):
    """Limits of a crawl; times in seconds, sizes in bytes.

    The fields are the keys of a crawl file (configs/crawls/example.yaml), but for FROM_RECIPE and INTERNAL.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    agent: str = "outbound"
    """Product token (RFC 9309, section 2.2.1): what robots.txt groups are matched against."""
    contact: str = ""
    """An e-mail address or page for webmasters; without it only loopback is contacted."""

    concurrency: int = Field(default=64, ge=1)
    """Sites that are crawled at once."""
    partitions: int = Field(default=8, ge=1)
    """Partitions that are crawled at once. Each takes some 100 MB for its 50,000 links."""
    site_concurrency: int = Field(default=1, ge=1)
    """Requests under way at once on one site."""
    delay_s: float = Field(default=1.0, ge=0)
    """Least time between the end of one request to a site and the start of the next."""
    max_delay_s: float = Field(default=60.0, ge=0)
    """Longest Crawl-delay or Retry-After that is waited for; a longer one counts as this."""
    hours: float | None = Field(default=None, ge=0)
    """Time budget of a call, or of all workers; what has not begun by then is deferred. None: no limit."""

    retries: int = Field(default=1, ge=0)
    """Further attempts at a request that failed for a temporary reason."""
    backoff_s: float = Field(default=2.0, ge=0)
    """Pause of a site before its first retry; doubled for each further one, with jitter."""
    max_site_failures: int = Field(default=10, ge=1)
    """Temporary failures in a row after which the rest of a site is deferred."""

    min_pages: float = Field(default=0.5, ge=0, le=1)
    """Least share of the links that must give a page, or the increment is not finished. Links that were
    deferred or forgotten do not count."""

    connect_timeout_s: float = Field(default=15.0, gt=0)
    """TCP and TLS together."""
    read_timeout_s: float = Field(default=20.0, gt=0)
    """Longest wait for the next bytes, the first included."""
    total_timeout_s: float = Field(default=Crawl().total_timeout_s, gt=0)
    """One request from start to last byte; it stops a server that drips."""
    max_wire_bytes: int = Field(default=8 << 20, gt=0)
    """Largest body as sent."""
    max_page_bytes: int = Field(default=Crawl().max_bytes, gt=0)
    """Largest body after decompression."""
    max_redirects: int = Field(default=Crawl().max_redirects, ge=0)
    max_warc_bytes: int = Field(default=1 << 30, gt=0)
    """A WARC file that has reached this size is closed and the next begun."""
    training_crawlers: int | None = Crawl().training_crawlers
    """Version of the list of crawlers whose exclusion by robots.txt is an opt-out; None: of none."""
    content_types: frozenset[str] = frozenset(["text/html", "application/xhtml+xml", "text/plain"])

    dns_concurrency: int = Field(default=32, ge=1)
    """Names looked up at once: enough that dead ones, which take seconds, do not hold up the rest."""
    dns_cache_s: float = Field(default=300.0, ge=0)
    """How long an answer of DNS is kept, also that there is no such host."""

    archive: str = ""
    """A Wayback-style archive that is asked for dead links; none: they stay dead."""
    archive_first: bool = False
    """Ask the archive before the live site, not after it has failed."""

    forgotten: Forgotten = NO_TOMBSTONES
    """What redirects must not lead to (`corpus forget`)."""
    allow_loopback: bool = False
    """Let connections go to this machine: for tests, demos and local mirrors."""
    ports: frozenset[Annotated[int, Field(ge=1, le=65535)]] = WEB_PORTS
    """Ports that URLs may name."""
    proxy: str = ""
    """`http://[NAME:PASSWORD@]HOST:PORT` through which all goes (CONNECT for https); "": none.

    The proxy then resolves the names, so addresses behind names are its business; hosts written as addresses
    are still checked here."""
    connect_to: tuple[str, ...] = ()
    """`HOST1:PORT1:HOST2:PORT2`, as curl's --connect-to; an empty HOST1 or PORT1 matches any."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) that are trusted beside the system's. In a crawl file, the path is
    relative to the file."""

    @property
    def user_agent(self) -> str:
        """The User-Agent header: who crawls, and where to complain."""
        contact = f"; +{self.contact}" if self.contact else ""
        return f"Mozilla/5.0 (compatible; {self.agent}{contact})"

    @staticmethod
    def load(options: Mapping[str, Any], file: Path | None = None) -> CrawlSettings:
        """The settings of a crawl: an option of the command line counts before the file, the file before the
        default.

        options: values by field name; None was not given.

        Raises UsageError that lists every mistake in the file or, if it has none, in the options.
        """
        in_file = _of_file(file) if file else {}
        given = {key: value for key, value in options.items() if value not in (None, [])}
        if found := [_as_option(mistake) for mistake in _mistakes(given)]:
            raise UsageError("\n".join(found))
        settings = CrawlSettings.model_validate(in_file | given)
        if settings.archive_first and not settings.archive:
            raise UsageError("--archive-first (archive_first): which archive? give --archive URL, too")
        if settings.ca_file:
            from dataprep.crawl.connect import tls_context  # with aiohttp, which only a crawl needs

            try:
                tls_context(settings.ca_file)
            except DataError as error:  # now, not after the links are made
                raise UsageError(f"--ca-file (ca_file): {error}") from None
        return settings

    def limited(self, limits: Crawl) -> CrawlSettings:
        """These settings with the limits that the corpus's recipe has frozen."""
        return self.model_copy(update={key: getattr(limits, name) for key, name in FROM_RECIPE.items()})

    def refuse_without_contact(self) -> None:
        """Raise UsageError when the crawl has no contact address and is not for this machine alone."""
        if not self.contact and not self.allow_loopback:
            raise UsageError(
                "--contact (contact): is missing; give an e-mail address or a page, for webmasters to "
                "complain to"
            )

    @field_validator("agent")
    @classmethod
    def _is_a_token(cls, agent: str) -> str:
        if not agent or not set(agent.lower()) <= set("abcdefghijklmnopqrstuvwxyz_-"):
            raise ValueError(f"{agent!r} is not of the letters a to z, - and _, as robots.txt needs it")
        return agent

    @field_validator("contact")
    @classmethod
    def _can_be_written_to(cls, contact: str) -> str:
        if contact and not ("@" in contact or contact.startswith(("http://", "https://"))):
            raise ValueError(f"{contact!r} is neither an e-mail address nor a page")
        if not contact.isprintable():
            raise ValueError(f"{contact!r} does not fit on one line of an HTTP request")
        return contact

    @field_validator("archive")
    @classmethod
    def _is_a_url(cls, archive: str) -> str:
        if archive and (not archive.startswith(("http://", "https://")) or len(archive.split()) > 1):
            raise ValueError(f"{archive!r} is no URL, such as https://web.archive.org/web")
        return archive

    @field_validator("proxy")
    @classmethod
    def _speaks_http(cls, proxy: str) -> str:
        if proxy and not (proxy.startswith("http://") and proxy.removeprefix("http://")):
            raise ValueError("is not http://[NAME:PASSWORD@]HOST:PORT")
        return proxy

    @field_validator("connect_to")
    @classmethod
    def _are_routes(cls, routes: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for route in routes:
                parse_route(route)
        except DataError as error:
            raise ValueError(str(error)) from None
        return routes


FROM_RECIPE = {
    "max_page_bytes": "max_bytes",
    "total_timeout_s": "total_timeout_s",
    "max_redirects": "max_redirects",
    "training_crawlers": "training_crawlers",
}
"""Fields that the recipe's `collect.crawl` decides, with its names for them: facts depend on them."""
INTERNAL = frozenset(["content_types", "forgotten"])
"""Fields that nobody sets: the same for every crawl, or read from the corpus."""
OPTIONS = {"delay_s": "--delay", "ports": "--port"}
"""Options of `corpus add` that are not spelt as their field."""


def _of_file(path: Path) -> dict[str, Any]:
    """The values of a crawl file by field; raises UsageError that lists every mistake in it."""
    raw = yaml_settings.read(path, "keys such as contact, delay_s and concurrency")
    known = CrawlSettings.model_fields.keys() - FROM_RECIPE.keys() - INTERNAL
    found, values = [], dict[str, Any]()
    for key, value in raw.items():
        if key in known:
            if value is not None:  # a key without a value keeps its default
                values[key] = value
        elif key in FROM_RECIPE:
            found.append(f"{key}: the corpus has frozen it as its recipe's {_frozen_as(key)}; remove it here")
        else:
            found.append(f"{key}: {yaml_settings.unknown_key(str(key), sorted(known))}")
    if found := [*found, *_mistakes(values)]:
        raise yaml_settings.refusal(str(path), found)
    if values.get("ca_file"):
        values["ca_file"] = path.parent / values["ca_file"]
    return values


def _frozen_as(key: str) -> str:
    return f"collect.crawl.{FROM_RECIPE[key]}"


def _mistakes(values: Mapping[str, Any]) -> list[str]:
    try:
        CrawlSettings.model_validate(values)
    except ValidationError as error:
        return yaml_settings.mistakes(CrawlSettings, error)
    return []


def _as_option(mistake: str) -> str:
    """A mistake in a field, under the name of the option that sets it.

    >>> _as_option("delay_s: Input should be greater than or equal to 0, not -1")
    '--delay: Input should be greater than or equal to 0, not -1'
    """
    path, _, what = mistake.partition(":")
    key = path.partition(".")[0]
    return f"{OPTIONS.get(key, '--' + key.replace('_', '-'))}:{what}"
