from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from dataprep.errors import DataError


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A private CA's certificate, and a server context with a certificate for a.test from it."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("a.test").configure_cert(context)
    return tmp_path / "ca.pem", context


def test_https_is_verified_by_the_name_in_the_url(authority: Any, serve_tls: Any, crawl: Any) -> None:
    ca_file, context = authority
    with serve_tls(context) as site:
        routes = (f"::127.0.0.1:{site.port}",)
        site.html("https://a.test/")
        site.html("https://b.test/")
        rows = crawl("https://a.test/", "https://b.test/", connect_to=routes, ca_file=ca_file)
        assert [row.outcome for row in rows] == ["ok", "tls_error"]
        assert {hit.host for hit in site.hits} == {"a.test"}


def test_an_unknown_authority_is_not_trusted(authority: Any, serve_tls: Any, crawl: Any) -> None:
    with serve_tls(authority[1]) as site:
        (row,) = crawl("https://a.test/", connect_to=(f"::127.0.0.1:{site.port}",))
    assert row.outcome == "tls_error"


@pytest.mark.parametrize("flaw", ["expired", "not yet valid", "self-signed"])
def test_a_certificate_that_proves_nothing_is_refused(
    serve_tls: Any, crawl: Any, tmp_path: Path, flaw: str
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    day, today = timedelta(days=1), datetime.now(UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    match flaw:
        case "expired":
            ca.issue_cert("a.test", not_before=today - 9 * day, not_after=today - day).configure_cert(context)
        case "not yet valid":
            ca.issue_cert("a.test", not_before=today + day).configure_cert(context)
        case _:
            own = trustme.CA()
            (tmp_path / "own.pem").write_bytes(own.private_key_pem.bytes() + own.cert_pem.bytes())
            context.load_cert_chain(tmp_path / "own.pem")
    with serve_tls(context) as site:
        site.html("https://a.test/")
        routes = (f"::127.0.0.1:{site.port}",)
        (row,) = crawl("https://a.test/", connect_to=routes, ca_file=tmp_path / "ca.pem")
        assert (row.outcome, site.hits) == ("tls_error", [])


def test_https_to_a_server_that_speaks_plain_http_is_a_tls_error(site: Any, crawl: Any) -> None:
    (row,) = crawl("https://a.test/")
    assert (row.outcome, site.hits) == ("tls_error", [])


def test_a_missing_ca_file_is_named(crawl: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.pem: cannot read certificate authorities"):
        crawl("https://a.test/", ca_file=tmp_path / "absent.pem")
