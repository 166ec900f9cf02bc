"""scrapy, writing request and response records by warcio. `scrapy_warc.py JOB OUT`.

The responses are archived as received, below scrapy's decompression. As our crawler does, it asks for
robots.txt, keeps no cookies, and asks each site for one page at a time, all sites at once.
"""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.resolver import CachingThreadedResolver
from twisted.internet import defer
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter


class Loopback(CachingThreadedResolver):
    """Every name is this machine."""

    def getHostByName(self, name, timeout=None):  # noqa: N802 (Twisted's name)
        return defer.succeed("127.0.0.1")


class Archive:
    """A downloader middleware, the one next to the downloader."""

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler.settings["WARC_OUT"])

    def __init__(self, out):
        self._file = (Path(out) / "scrapy.warc.gz").open("wb")
        self._writer = WARCWriter(self._file, gzip=True, warc_version="1.1")

    def process_response(self, request, response):
        headers = [(name, value) for name, values in response.headers.items() for value in values]
        record = self._writer.create_warc_record(
            response.url,
            "response",
            payload=BytesIO(response.body),
            length=len(response.body),
            http_headers=StatusAndHeaders(f"{response.status} OK", headers, protocol="HTTP/1.1"),
        )
        asked = [(name, value) for name, values in request.headers.items() for value in values]
        beside = self._writer.create_warc_record(
            response.url,
            "request",
            http_headers=StatusAndHeaders(f"GET {request.url} HTTP/1.1", asked, is_http_request=True),
        )
        self._writer.write_request_response_pair(beside, record)
        return response


class Pages(scrapy.Spider):
    """Asks for every page and does nothing with it."""

    name = "pages"
    came = 0

    def __init__(self, work, **kwargs):
        super().__init__(**kwargs)
        self._work = work

    async def start(self):
        # by turns, or the scheduler would hold one site's requests before the next site's
        for paths in zip(*self._work["sites"].values(), strict=True):
            for site, path in zip(self._work["sites"], paths, strict=True):
                yield scrapy.Request(f"http://{site}:{self._work['port']}{path}")

    def parse(self, response):
        Pages.came += response.status == 200 and bool(response.body)


if __name__ == "__main__":
    job, out = Path(sys.argv[1]), sys.argv[2]
    work = json.loads(job.read_text())
    settings = {
        "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
        "AUTOTHROTTLE_ENABLED": False,
        "CONCURRENT_REQUESTS": len(work["sites"]),
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "COOKIES_ENABLED": False,
        "DNS_RESOLVER": Loopback,
        "DOWNLOAD_DELAY": 0,
        "LOG_LEVEL": "ERROR",
        "REDIRECT_MAX_TIMES": 5,
        "ROBOTSTXT_OBEY": True,
        "TELNETCONSOLE_ENABLED": False,
        "DOWNLOADER_MIDDLEWARES": {Archive: 950},
        "WARC_OUT": out,
    }
    process = CrawlerProcess(settings)
    process.crawl(Pages, work=work)
    process.start()
    json.dump({"pages": Pages.came}, sys.stdout)
