"""The canonical form of a link: what merges, what must not, and its laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.urls import canonical, site_of_host

SAME = [
    ("http://example.com", "http://example.com/"),
    ("HTTP://EXAMPLE.com/", "http://example.com/"),
    ("http://example.com:80/", "http://example.com/"),
    ("https://example.com:443/a", "https://example.com/a"),
    ("http://example.com./a", "http://example.com/a"),
    ("http://example.com/a#top", "http://example.com/a"),
    ("http://example.com/a?", "http://example.com/a"),
    ("http://example.com/a?utm_source=reddit&utm_medium=social", "http://example.com/a"),
    ("http://example.com/a?UTM_Source=reddit&x=1", "http://example.com/a?x=1"),
    ("http://example.com/a?fbclid=1&x=1&gclid=2", "http://example.com/a?x=1"),
    ("http://example.com/a?ref=rss&x=1", "http://example.com/a?x=1"),
    ("http://example.com/a?b=2&a=1", "http://example.com/a?a=1&b=2"),
    ("http://example.com/a?b=2&amp;a=1", "http://example.com/a?a=1&b=2"),
    ("http://example.com/a?a=2&a=1", "http://example.com/a?a=2&a=1"),
    ("http://example.com/%7euser/", "http://example.com/~user/"),
    ("http://example.com/%c3%a4", "http://example.com/%C3%A4"),
    ("http://example.com/ä", "http://example.com/%C3%A4"),
    ("http://exämple.com/", "http://xn--exmple-cua.com/"),
    ("http://example.com/a/../b/./c", "http://example.com/b/c"),
    ("  http://example.com/a\n", "http://example.com/a"),
    ("http:\\\\example.com\\a", "http://example.com/a"),
    ("http://me:secret@example.com/a", "http://example.com/a"),
    ("https://www.youtube.com/watch?v=x&feature=share", "https://www.youtube.com/watch?v=x"),
    ("http://example.com/a b", "http://example.com/a%20b"),
    ("http://[::1]:8080/x", "http://[::1]:8080/x"),
]

DIFFERENT = [
    ("https://www.youtube.com/watch?v=a", "https://www.youtube.com/watch?v=b"),
    ("https://news.ycombinator.com/item?id=1", "https://news.ycombinator.com/item?id=2"),
    ("http://example.com/a", "http://example.com/a/"),
    ("http://example.com/A", "http://example.com/a"),
    ("http://example.com/a", "http://www.example.com/a"),
    ("http://example.com/a?x=1&copy=2", "http://example.com/a?x=1"),
    ("http://example.com/a?ref=v1", "http://example.com/a?ref=v2"),
    ("http://example.com/a?feature=1", "http://example.com/a?feature=2"),
    ("http://example.com/a%2Fb", "http://example.com/a/b"),
    ("http://example.com/a?x=a%26b", "http://example.com/a?x=a&b"),
    ("http://example.com:8080/", "http://example.com/"),
]


@pytest.mark.parametrize(("raw", "url"), SAME)
def test_spellings_of_one_page_become_one_url(raw: str, url: str) -> None:
    assert canonical(raw).url == url
    assert canonical(raw).key == canonical(url).key


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_pages_stay_apart(one: str, other: str) -> None:
    assert canonical(one).key != canonical(other).key


def test_http_and_https_are_one_page_but_keep_their_scheme() -> None:
    plain, secure = canonical("http://example.com/a"), canonical("https://example.com/a")
    assert plain.key == secure.key
    assert (plain.url, secure.url) == ("http://example.com/a", "https://example.com/a")


@pytest.mark.parametrize(
    "raw", ["", "foo", "/r/x/comments/1", "ftp://a.com/", "javascript:alert(1)", "http://"]
)
def test_what_is_not_a_web_link_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        canonical(raw)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("docs.python.org", "python.org"),
        ("a.b.co.uk", "b.co.uk"),
        ("me.github.io", "me.github.io"),
        ("x.me.blogspot.com", "me.blogspot.com"),
        ("docs.stdlib.test", "stdlib.test"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
    ],
)
def test_a_site_is_the_registrable_domain(host: str, site: str) -> None:
    assert site_of_host(host) == site


@given(st.text(alphabet="abcXYZ019%2e7E&=;?/.#+ äß日", max_size=40))
def test_canonical_is_idempotent(rest: str) -> None:
    once = canonical("http://example.com/" + rest)
    assert canonical(once.url) == once
