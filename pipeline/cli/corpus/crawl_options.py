"""The options of the commands that ask web sites; all of them may also stand in a crawl file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
