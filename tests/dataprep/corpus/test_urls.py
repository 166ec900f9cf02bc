"""The canonical form of a link: what merges, what must not, and its laws."""

import re
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprep.corpus import urls
from dataprep.corpus.urls import canonical, site_of_host

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
    ("http://example.com:0080/", "http://example.com/"),
    ("http://example.com:/a", "http://example.com/a"),
    ("http:example.com/a", "http://example.com/a"),
    ("http:///example.com/a", "http://example.com/a"),
    ("hTTp://example.com/a", "http://example.com/a"),
    ("http://example.com/a\tb\nc", "http://example.com/abc"),
    ("http://ex%41mple.com/", "http://example.com/"),
    ("http://EXÄMPLE.com/", "http://xn--exmple-cua.com/"),
    ("http://faß.de/", "http://xn--fa-hia.de/"),
    ("http://例え.jp/", "http://xn--r8jz45g.jp/"),
    ("http://example。com/", "http://example.com/"),
    ("http://127.1/", "http://127.0.0.1/"),
    ("http://0x7f.0.0.1/", "http://127.0.0.1/"),
    ("http://2130706433/", "http://127.0.0.1/"),
    ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"),
    ("http://[::FFFF:1.2.3.4]/", "http://[::ffff:102:304]/"),
    ("http://example.com../", "http://example.com/"),
    ("http://example.com/%7Euser%2fx", "http://example.com/~user%2Fx"),
    ("http://example.com/%41%2D%2e", "http://example.com/A-."),
    ("http://example.com/%2e%2e/a", "http://example.com/a"),
    ("http://example.com/a/%2E/b", "http://example.com/a/b"),
    ("http://example.com/../../a", "http://example.com/a"),
    ("http://example.com/a/..", "http://example.com/"),
    ("http://example.com/100%", "http://example.com/100%"),
    ("http://example.com/%zz", "http://example.com/%zz"),
    ('http://example.com/"x"', "http://example.com/%22x%22"),
    ("http://example.com/?q=ä", "http://example.com/?q=%C3%A4"),
    ("http://example.com/?q=%c3%a4", "http://example.com/?q=%C3%A4"),
    ("http://example.com/?%71=1", "http://example.com/?q=1"),
    ("http://example.com/?a=1&&b=2&", "http://example.com/?a=1&b=2"),
    ("http://example.com/?&", "http://example.com/"),
    ("http://example.com/#", "http://example.com/"),
    ("http://example.com/#!", "http://example.com/"),
    ("http://example.com/#:~:text=a", "http://example.com/"),
    ("http://example.com/?a=1#b?c=2", "http://example.com/?a=1"),
    ("http://example.com/?a=1&amp;amp;b=2", "http://example.com/?a=1&b=2"),
    ("http://example.com/?a=&lt;b&gt;", "http://example.com/?a=%3Cb%3E"),
    ("http://example.com/a;jsessionid=0F3A", "http://example.com/a"),
    ("http://example.com/a;JSESSIONID=0F3A;v=1?x=2", "http://example.com/a;v=1?x=2"),
    ("http://example.com/?PHPSESSID=8f3&id=1", "http://example.com/?id=1"),
    ("http://example.com/?ASPSESSIONIDQAB=8f3&id=1", "http://example.com/?id=1"),
    ("http://example.com/?%75tm_source=x&id=1", "http://example.com/?id=1"),
    ("http://example.com/?utm_source", "http://example.com/"),
    ("http://example.com/?id=1&amp;utm_medium=x", "http://example.com/?id=1"),
    ("http://example.com/?gclid=1&msclkid=2&twclid=3&ttclid=4", "http://example.com/"),
    ("http://example.com/?mc_cid=1&mc_eid=2&_hsenc=3&_hsmi=4", "http://example.com/"),
    ("http://example.com/?pk_campaign=1&mtm_source=2&xtor=3", "http://example.com/"),
    ("http://example.com/?igshid=1&srsltid=2&yclid=3", "http://example.com/"),
    ("http://example.com/?source=Twitter", "http://example.com/"),
    ("http://example.com/?src=hn&ref=hackernews", "http://example.com/"),
    ("https://youtu.be/x?si=1&t=10", "https://youtu.be/x?t=10"),
    ("https://www.youtube.com/watch?v=x&pp=1&ab_channel=2", "https://www.youtube.com/watch?v=x"),
    ("https://twitter.com/a/status/1?s=20&t=x", "https://twitter.com/a/status/1"),
    ("https://www.nytimes.com/a.html?smid=re&_r=1&hp", "https://www.nytimes.com/a.html"),
    ("http://www.theguardian.com/a?CMP=twt", "http://www.theguardian.com/a"),
    ("http://www.bbc.co.uk/news/1?ocid=x", "http://www.bbc.co.uk/news/1"),
    ("http://twitter.com/#!/user", "http://twitter.com/#!/user"),
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
    ("http://example.com/a//b", "http://example.com/a/b"),
    ("http://example.com/index.html", "http://example.com/"),
    ("http://m.example.com/a", "http://example.com/a"),
    ("http://example.com/?a", "http://example.com/?a="),
    ("http://example.com/?a=1&a=2", "http://example.com/?a=2&a=1"),
    ("http://example.com/?A=1", "http://example.com/?a=1"),
    ("http://example.com/?q=a+b", "http://example.com/?q=ab"),
    ("http://example.com/?q=a%2Bb", "http://example.com/?q=a+b"),
    ("http://example.com/?q=a%23b", "http://example.com/?q=a"),
    ("http://example.com/?q=a%3Db", "http://example.com/?q%3Da=b"),
    ("http://example.com/a%3Fb", "http://example.com/a?b"),
    ("http://example.com/a%23b", "http://example.com/a#b"),
    ("http://example.com/a%252Fb", "http://example.com/a%2Fb"),
    ("http://example.com/a;v=1", "http://example.com/a;v=2"),
    ("http://example.com/a;v=1", "http://example.com/a"),
    ("http://example.com/?page=1", "http://example.com/?page=2"),
    ("http://example.com/?p=1", "http://example.com/?p=2"),
    ("http://example.com/?sid=1", "http://example.com/?sid=2"),
    ("http://example.com/?s=1", "http://example.com/?s=2"),
    ("http://example.com/?t=1", "http://example.com/?t=2"),
    ("http://example.com/?si=1", "http://example.com/?si=2"),
    ("http://example.com/?hp=1", "http://example.com/?hp=2"),
    ("http://example.com/?source=a", "http://example.com/?source=b"),
    ("http://example.com/?utm=1", "http://example.com/?utm=2"),
    ("http://example.com/?campaign=1", "http://example.com/?campaign=2"),
    ("https://www.facebook.com/event.php?eid=1", "https://www.facebook.com/event.php?eid=2"),
    ("https://www.facebook.com/photo.php?fbid=1", "https://www.facebook.com/photo.php?fbid=2"),
    ("https://www.youtube.com/watch?v=x&list=1", "https://www.youtube.com/watch?v=x&list=2"),
    ("https://www.youtube.com/watch?v=x&t=10", "https://www.youtube.com/watch?v=x&t=20"),
    ("https://www.youtube.com/watch?v=aB", "https://www.youtube.com/watch?v=ab"),
    ("https://forum.test/showthread.php?t=1", "https://forum.test/showthread.php?t=2"),
    ("https://www.google.com/search?q=a", "https://www.google.com/search?q=b"),
    ("http://twitter.com/#!/a", "http://twitter.com/#!/b"),
    ("http://a.example.com/", "http://b.example.com/"),
    ("http://example.com/", "http://example.org/"),
    ("http://exämple.com/", "http://example.com/"),
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


PIECES = st.sampled_from(
    "& &amp; amp; &amp;amp; &lt; % %25 %26 %2e %2E %61 %7e %75tm_a utm_a=1 = ? # #! / /. /.. . .. @ : :80 \\ "
    ";jsessionid=a ;JSESSIONID=b ;v xn-- xn--exmple-cua ä ß İ K 日 。 1 0x1 com a B - _ [::1] 127.0.0.1 %00 "
    "+ | ^ ` { ' \" < > http: https: // ref=rss fbclid v=1 \ud800 \u200d \xad \t \n \x00".split(" ")
)
STARTS = st.sampled_from(
    ["http://", "https://", "http://example.com/", "http://e.com?", "http://a.", "HTTP:"]
)
HOSTILE = st.builds(
    lambda start, rest: start + "".join(rest), STARTS, st.lists(PIECES | st.text(max_size=3), max_size=14)
)


@pytest.mark.slow(3)
@settings(max_examples=1500)
@given(HOSTILE)
def test_canonical_is_idempotent_whatever_the_link(raw: str) -> None:
    try:
        once = canonical(raw)
    except ValueError:
        return
    assert canonical(once.url) == once


@pytest.mark.slow(2)
@settings(max_examples=500)
@given(st.from_regex(r"\Ahttps?://([a-c0-9x-]{0,4}\.){1,3}(com|a|x)/([a-z.~!$'()*+,:=@/_-]|/\.){0,12}\Z"))
def test_a_link_that_needs_no_parser_is_what_the_parser_makes_of_it(raw: str) -> None:
    def outcome() -> urls.Canonical | None:
        try:
            return canonical(raw)
        except ValueError:
            return None

    quick = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urls, "_PLAIN", re.compile("(?!)"))
        assert outcome() == quick


NAMES = st.text(alphabet="abcdpqvxyz", min_size=1, max_size=3)  # none of them is a tracking parameter
QUERIES = st.lists(st.tuples(NAMES, st.text(alphabet="abAB019 &=+%#ä", max_size=4)), max_size=4)


@pytest.mark.slow(1)
@settings(max_examples=500)
@given(QUERIES, QUERIES)
def test_pages_that_differ_in_a_parameter_stay_apart(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    def by_name(query: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return sorted(query, key=lambda pair: pair[0])

    keys = {canonical(f"http://a.test/?{urlencode(query)}").key for query in (one, other)}
    assert (len(keys) == 1) == (by_name(one) == by_name(other))
