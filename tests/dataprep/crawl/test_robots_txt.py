"""robots.txt by RFC 9309 and as its reference parser reads it, and what it says about training."""

from __future__ import annotations

import time

import pytest

from dataprep.corpus.recipe import Crawl
from dataprep.crawl import training_crawlers
from dataprep.crawl.path_patterns import path_of
from dataprep.crawl.robots_txt import LINE_CHARACTERS, RobotsTxt
from dataprep.crawl.usage_preferences import dictionary, forbids_training, signals_no_training


def lines(text: str) -> str:
    """A file, written on one line here: `;` ends a line."""
    return text.replace("; ", "\n") + "\n"


def allows(text: str, path: str, agent: str = "outbound") -> bool:
    return RobotsTxt.parse(lines(text)).of(agent).allows(path_of(f"http://a.test{path}"))


def opt_out(text: str, path: str = "/x", agent: str = "outbound") -> str:
    return RobotsTxt.parse(lines(text)).of(agent).opt_out(path_of(f"http://a.test{path}"))


@pytest.mark.parametrize(
    "between",
    [
        "Crawl-delay: 5",
        "Sitemap: http://a.test/s.xml",
        "Host: a.test",
        "Noindex: /x",
        "nonsense",
        "x-unknown: y",
        "Request-rate: 1/5",
        "Clean-param: a",
        "Content-Signal: search=yes",
        "Content-Usage: search=n",
        "# a remark",
        "",
    ],
)
def test_a_line_that_the_rfc_does_not_know_splits_no_group(between: str) -> None:
    shut = f"User-agent: outbound; {between}; User-agent: *; Disallow: /"
    assert not allows(shut, "/")
    assert not allows(shut, "/", "other")
    opened = f"User-agent: *; Disallow: /; User-agent: outbound; {between}; User-agent: other; Allow: /x"
    assert allows(opened, "/y")
    assert allows(opened, "/y", "other")
    assert not allows(opened, "/y", "third")


GROUPS = (
    "Allow: /0; User-agent: a; Disallow: /; Allow: /1; User-agent: b; Disallow: /; Allow: /2; ; Allow: /3; "
)
GROUPS += "User-agent: c; ; User-agent: a; Allow: /4; Disallow: /"


@pytest.mark.parametrize(
    ("agent", "allowed"), [("a", "14"), ("b", "23"), ("c", "4"), ("d", "01234"), ("A", "14")]
)
def test_groups_end_at_a_user_agent_line_after_a_rule_and_those_of_a_name_are_one(
    agent: str, allowed: str
) -> None:
    assert "".join(path for path in "01234" if allows(GROUPS, f"/{path}", agent)) == allowed


@pytest.mark.parametrize(
    ("named", "agent", "denied"),
    [
        ("Outbound", "outbound", True),
        ("OUTBOUND/2.1", "outbound", True),
        ("outbound images", "outbound", True),
        ("outbound (research)", "outbound", True),
        ("outbound*", "outbound", True),
        ("out", "outbound", False),
        ("outbound-images", "outbound", False),
        ("bound", "outbound", False),
        ("Mozilla/5.0 (compatible; outbound)", "outbound", False),
        ("*", "outbound", True),
        ("* # everybody", "outbound", True),
        ("* everybody", "outbound", True),
        ("*bot", "outbound", False),
        ("", "outbound", False),
        ("AI2Bot", "AI2Bot", True),
        ("img2dataset", "img2dataset", True),
    ],
)
def test_the_names_of_agents(named: str, agent: str, denied: bool) -> None:
    assert allows(f"User-agent: {named}; Disallow: /", "/", agent) is not denied


def test_the_group_of_our_name_goes_before_the_star_also_when_its_name_has_a_space() -> None:
    text = "User-Agent: *; Disallow: /; User-Agent: Outbound Images; Allow: /x/; Disallow: /"
    assert allows(text, "/x/y")
    assert not allows(text, "/x/y", "other")


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/", True),
        ("foo: outbound; bar: /", "/", True),
        ("User-agent outbound; Disallow /", "/", False),  # forgotten colons
        ("User-agent outbound; Disallow /a:b", "/a:b", False),
        ("User-agent *; Disallow everything that you see", "/", True),
        ("user agent: outbound; disalow: /", "/", False),  # and common misspellings
        ("useragent: outbound; Dissallow: /", "/", False),
        ("  User-agent :\toutbound ; \tDisallow\t: /a ", "/a", False),
        ("User-agent: *; Disallow: /x/page.html; Allow: /x/", "/x/page.html", False),
        ("User-agent: *; Allow: /x/page.html; Disallow: /x/", "/x/page.html", True),
        ("User-agent: *; Disallow: /; Allow: /", "/x", True),  # equally long: allowed
        ("User-agent: *; Disallow: ; Allow: ", "/x", True),
        ("User-agent: *; Disallow: /x; Allow: /x/", "/x", False),
        ("User-agent: *; Disallow: /x; Allow: /x/", "/x/", True),
        ("User-agent: *; Allow: /page; Disallow: /*.html", "/page.html", False),
        ("User-agent: *; Allow: /x/page.; Disallow: /*.html", "/x/page.html", True),
        ("User-agent: *; Disallow: /x/; User-agent: outbound; Disallow: /y/", "/x/1", True),
        ("User-agent: outbound; User-agent: *; Disallow: /", "/", False),
        ("User-agent: *; Disallow: /a; User-agent: *; Disallow: /b", "/a", False),
        ("User-agent: *; Disallow: /a#b", "/a", False),
        ("User-agent: *; # Disallow: /", "/", True),
        ("User-agent: *; Allow: /d/index.html; Disallow: /", "/d/", True),
        ("User-agent: *; Allow: /d/index.html; Disallow: /", "/d/index.htm", False),
        ("User-agent: *; Allow: /$; Disallow: /", "/", True),
        ("User-agent: *; Allow: /$; Disallow: /", "/page", False),
        ("User-agent: *; Allow: /foo?a=b&c=http://d.e?f; Disallow: /", "/foo?a=b&c=http://d.e?f", True),
        ("User-agent: *; Disallow: *", "/", False),
        ("User-agent: *; Disallow: /", "/robots.txt", True),
        ("User-agent:; Disallow: /; User-agent: outbound; Allow: /x", "/y", True),  # a group of nobody
        ("User-agent: *; Disallow: /a\u2028Allow: /", "/b", True),  # only CR and LF end a line
        ("User-agent: *; Disallow: /a\x0cAllow: /", "/b", True),
    ],
)
def test_rules(text: str, path: str, allowed: bool) -> None:
    assert allows(text, path) is allowed


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(end: str) -> None:
    robots = RobotsTxt.parse(
        end.join(["User-Agent: a", "Allow: /b", "User-Agent: outbound", "", "Disallow: /"])
    )
    assert not robots.of("outbound").allows("/b")


def test_of_a_line_no_more_is_read_than_the_reference_parser_reads() -> None:
    long = "/x/" + "a" * (LINE_CHARACTERS - len("Disallow: /x/"))
    assert not allows(f"User-agent: *; Disallow: {long}/qux", f"{long}/fux")
    assert allows(f"User-agent: *; Disallow: {long}/qux", "/x/a")


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        ("User-agent: outbound; Crawl-delay: 3; Crawl-delay: 7; User-agent: *; Crawl-delay: 60", 7),
        ("User-agent: outbound; Crawl-delay: 2.5; User-agent: x; Disallow:", 2.5),
        ("Crawl-delay: 5; User-agent: *; Disallow: /a", None),
        ("User-agent: *; Crawl-delay: soon; Crawl-delay: nan; Crawl-delay: inf; Crawl-delay: -1", None),
    ],
)
def test_crawl_delay(text: str, delay_s: float | None) -> None:
    assert RobotsTxt.parse(lines(text)).of("outbound").crawl_delay_s == delay_s


SIGNAL, USAGE = "robots.txt Content-Signal: ai-train=no", "robots.txt Content-Usage: train-ai=n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Content-Signal: ai-train=no", SIGNAL),  # for everybody
        ("# policy; content-signal : search=yes, AI-train = No; User-agent: outbound; Allow: /", SIGNAL),
        ("User-agent: *; Content-Signal: search=yes,ai-train=no,use=reference; Allow: /", SIGNAL),
        ("User-agent: *; Allow: /; Content-Signal: ai-train=no; User-agent: b; Allow: /", SIGNAL),
        ("User-agent: outbound; Content-Signal: ai-train=no", SIGNAL),
        ("User-agent: GPTBot; Disallow: /; ; Content-Signal: ai-train=no; Sitemap: x", SIGNAL),
        ("Content-Signal: ai-train=no; User-agent: *; Content-Signal: ai-train=yes", SIGNAL),
        ("User-agent: *; Content-Signal: ai-train=yes, ai-train=no", SIGNAL),
        ("User-agent: *; Content-Signal: /x ai-train=no", SIGNAL),
        ("User-agent: *; Content-Signal: 'search=yes', \"ai-train\"='no'", SIGNAL),
        ("User-agent: *; Content-Signal: /y ai-train=no", ""),
        ("User-agent: GPTBot; Content-Signal: ai-train=no; Disallow: /; User-agent: *; Allow: /", ""),
        ("User-agent: *; Content-Signal: ai-train=no; Allow: /; User-agent: outbound; Allow: /", ""),
        ("User-agent: *; Content-Signal: ai-train=yes, search=no, ai-input=no", ""),
        ("User-agent: *; Content-Signal: not-ai-train=no", ""),
        ("User-agent: *; Content-Signal: ai-train=nobody", ""),
        ("User-agent: *; # Content-Signal: ai-train=no", ""),
        ("User-agent: *; Allow: /; Content-Usage: train-ai=n", USAGE),
        ("User-agent: *; Content-Usage: train-ai=n; Allow: /", USAGE),
        ("Content-Usage: train-ai=n; User-agent: *; Allow: /", USAGE),
        ("User-agent: *; Content-Usage:\t/\t train-ai=n, search=y", USAGE),
        ("User-agent: *; Content-Usage: train-ai=y; Content-Usage: /x train-ai=n", USAGE),
        ("User-agent: *; Content-Usage: /x train-ai=y; Content-Usage: /x train-ai=n", USAGE),
        ("User-agent: *; Content-Usage: train-ai=n; Content-Usage: /x search=y", USAGE),
        ("User-agent: *; Content-Usage: /*x$ train-ai=n", USAGE),
        ("User-agent: *; Content-Signal: ai-train=no; Content-Usage: /x train-ai=y", SIGNAL),
        ("User-agent: *; Content-Usage: train-ai=n; Content-Signal: /x ai-train=yes", USAGE),
        ("User-agent: *; Content-Usage: train-genai=n, search=y", USAGE),
        ("User-agent: *; Content-Usage: bots=n", USAGE),
        ("User-agent: *; Content-Usage: train-ai=n; Content-Usage: /x train-ai=y", ""),
        ("User-agent: *; Content-Usage: /y/ train-ai=n", ""),
        ("User-agent: *; Content-Usage: train-ai=n; User-agent: outbound; Content-Usage: train-ai=y", ""),
        ("User-agent: GPTBot; Content-Usage: train-ai=n; User-agent: *; Disallow:", ""),  # two groups
        ("User-agent: *; Content-Usage: bots=n, train-ai=y", ""),
        ("User-agent: *; Content-Usage: Train-AI=n", ""),  # no dictionary: keys are in lower case
        ("User-agent: *; Content-Usage: train-ai=no", ""),
    ],
)
def test_what_a_file_says_about_training(text: str, found: str) -> None:
    assert opt_out(text) == found


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", {}),
        ("a", {"a": "?1"}),
        ("a=n", {"a": "n"}),
        ("a=1 ,\tb=-2.5", {"a": "1", "b": "-2.5"}),
        ('a="x, \\"y\\"; b=n", c=n', {"a": '"x, \\"y\\"; b=n"', "c": "n"}),
        ('a;p=1;q, b=n; r="s"', {"a": "?1", "b": "n"}),
        ("a=(n y;p=1  z);q, b", {"a": "(n y;p=1  z)", "b": "?1"}),
        ("a=:YQ==:, b=@1659578233, c=?0, d=*/x", {"a": ":YQ==:", "b": "@1659578233", "c": "?0", "d": "*/x"}),
        ("*a.b_c-d=n", {"*a.b_c-d": "n"}),
        ("a=n,", {}),
        ("a=n b=n", {}),
        ("a = n", {}),
        ("a=n;", {}),
        ("A=n", {}),
        ("a=n, 1=n", {}),
        ("a=(n", {}),
        ('a="n', {}),
        ("a=é", {}),
        (",a=n", {}),
    ],
)
def test_dictionaries_of_structured_fields(text: str, read: dict[str, str]) -> None:
    assert dictionary(text) == read


@pytest.mark.slow(2)
def test_hostile_files_cost_no_time() -> None:
    began = time.process_time()
    for text in (
        "".join(f"User-agent: a{n}\n" for n in range(15_000)) + "Disallow: /x\n" * 15_000,
        "User-agent: *\n" + "Disallow: /*a*a*a*a*a*a*a*ab\n" * 15_000,
        "".join(f"User-agent: outbound\nDisallow: /{n}\n" for n in range(15_000)),
        "User-agent: *\n" + "Content-Usage: train-ai=n\n" * 15_000,
        "User-agent: *\nDisallow: " + "/" * 500_000,
        "User-agent" + " " * 500_000 + ":",
    ):
        group = RobotsTxt.parse(text).of("outbound")
        group.allows("/" + "a" * 2000)
        group.opt_out("/")
    assert time.process_time() - began < 10
    for text in (
        "a=(" + " " * 100_000,
        "a" + ";a" * 50_000 + ",",
        "a, " * 50_000 + "!",
        'a="' + "\\\\" * 50_000,
    ):
        assert forbids_training(text) is None
        assert signals_no_training(text) is None
    assert time.process_time() - began < 15


def test_the_list_of_training_crawlers_is_the_one_that_recipes_name() -> None:
    assert Crawl(training_crawlers=training_crawlers.LATEST).training_crawlers == training_crawlers.LATEST
    with pytest.raises(ValueError, match="training_crawlers"):
        Crawl.model_validate({"training_crawlers": training_crawlers.LATEST + 1})
    assert {"GPTBot", "CCBot", "Google-Extended", "ClaudeBot", "anthropic-ai", "Applebot-Extended"} <= {
        *training_crawlers.names(1)
    }
