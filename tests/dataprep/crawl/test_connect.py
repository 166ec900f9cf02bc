from __future__ import annotations

import pytest

from dataprep.crawl.routes import destination, parse_route
from dataprep.errors import DataError


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("::127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("a.test::127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("A.TEST:80:127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("a.test:443:127.0.0.1:8080", ("a.test", 80)),
        ("b.test::127.0.0.1:8080", ("a.test", 80)),
        (":80::8080", ("a.test", 8080)),
        ("::[::1]:", ("[::1]", 80)),
    ],
)
def test_a_route_reads_as_curls_connect_to(route: str, expected: tuple[str, int]) -> None:
    assert destination("a.test", 80, [parse_route(route)]) == expected


def test_the_first_route_that_matches_decides() -> None:
    routes = [parse_route("a.test::127.0.0.1:1"), parse_route("::127.0.0.1:2")]
    assert destination("a.test", 80, routes) == ("127.0.0.1", 1)
    assert destination("b.test", 80, routes) == ("127.0.0.1", 2)


@pytest.mark.parametrize("route", ["", "127.0.0.1:8080", "a:b:c:d", "::::1:80", "a:1:b:2:c"])
def test_what_is_no_route_is_named_with_an_example(route: str) -> None:
    with pytest.raises(DataError, match="HOST1:PORT1:HOST2:PORT2"):
        parse_route(route)
