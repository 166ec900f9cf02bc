"""The options of the commands that ask web sites; all of them may also stand in a crawl file."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

CRAWL = "The crawl"
"""The part of a command's --help that lists them."""

CrawlFile = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=CRAWL,
        metavar="FILE",
        help="A YAML of all settings of the crawl, by path or name; options count before it.",
        show_default=False,
    ),
]
Contact = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=CRAWL, help="An e-mail address or page for webmasters; public hosts need it."
    ),
]
Agent = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=CRAWL,
        help="The crawler's name in User-Agent and robots.txt.",
        show_default="outbound",
    ),
]
Delay = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=CRAWL, min=0, help="Seconds between two requests to a site.", show_default="1"
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(rich_help_panel=CRAWL, min=1, help="Sites that are crawled at once.", show_default="64"),
]
Partitions = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=CRAWL,
        min=1,
        help="Partitions that are crawled at once, of up to 50,000 links each.",
        show_default="8",
    ),
]
Hours = Annotated[
    float | None,
    typer.Option(rich_help_panel=CRAWL, min=0, help="Time budget of the crawl; the rest is deferred."),
]
MinPages = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=CRAWL,
        min=0,
        max=1,
        help="Refuse to finish a crawl in which a smaller share of the links gave a page.",
        show_default="0.5",
    ),
]
Archive = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=CRAWL, help="Ask this Wayback-style archive for dead links, as of their submission."
    ),
]
ArchiveFirst = Annotated[
    bool | None,
    typer.Option(
        "--archive-first/--archive-last",
        rich_help_panel=CRAWL,
        help="Ask the archive before the live sites, or after them.",
    ),
]
ConnectTo = Annotated[
    list[str] | None,
    typer.Option(
        rich_help_panel=CRAWL,
        help="HOST1:PORT1:HOST2:PORT2, connect there instead, as curl does; may be repeated.",
    ),
]
Proxy = Annotated[
    str | None,
    typer.Option(
        envvar="OUTBOUND_PROXY",
        rich_help_panel=CRAWL,
        help="http://[NAME:PASSWORD@]HOST:PORT to crawl through; it then resolves the names.",
    ),
]
Ports = Annotated[
    list[int] | None,
    typer.Option(
        "--port",
        rich_help_panel=CRAWL,
        help="A port that URLs may name; may be repeated.",
        show_default="usual web ports",
    ),
]
AllowLoopback = Annotated[
    bool | None,
    typer.Option(
        "--allow-loopback/--no-allow-loopback",
        rich_help_panel=CRAWL,
        help="Let the crawler connect to this machine.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(rich_help_panel=CRAWL, help="Certificate authorities to trust beside the system's (PEM)."),
]

FIELDS = {
    "contact": Contact,
    "agent": Agent,
    "delay": Delay,
    "concurrency": Concurrency,
    "partitions": Partitions,
    "hours": Hours,
    "min_pages": MinPages,
    "archive": Archive,
    "archive_first": ArchiveFirst,
    "connect_to": ConnectTo,
    "proxy": Proxy,
    "port": Ports,
    "allow_loopback": AllowLoopback,
    "ca_file": CaFile,
}
"""The options by their names in Python."""
NAMED = {"delay": "delay_s", "port": "ports"}
"""Options whose fields in `CrawlSettings` have other names."""


def with_settings(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a crawl but for some; its argument `settings` is what they say.

    The command raises UsageError for what they may not be.
    """
    chosen = {name: kind for name, kind in FIELDS.items() if name not in left_out}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def decorated(crawl: str | None = None, **values: Any) -> None:
            from dataprep.crawl.settings import CrawlSettings
            from pipeline.config.named import find

            given = {NAMED.get(name, name): values.pop(name) for name in chosen}
            settings = CrawlSettings.load(given, find("crawls", crawl) if crawl else None)
            command(settings=settings, **values)

        # What typer makes options of: the command's own parameters, then those of the crawl.
        own = signature(command).parameters.values()
        kinds = get_type_hints(command, localns={"CrawlSettings": object}, include_extras=True)
        defaults = {each.name: each.default for each in own if each.name != "settings"}
        crawling = {"crawl": CrawlFile, **chosen}
        decorated.__annotations__ = {name: kinds[name] for name in defaults} | crawling
        decorated.__signature__ = Signature(  # type: ignore[attr-defined]
            [
                Parameter(name, Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=kind)
                for name, kind in decorated.__annotations__.items()
            ]
        )
        return decorated

    return decorate
