"""A crawl's settings: an option counts before the file, the file before the default; mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataprep.corpus.recipe import Crawl
from dataprep.crawl.settings import FROM_RECIPE, INTERNAL, CrawlSettings
from dataprep.errors import UsageError

EXAMPLE = Path(__file__).parents[3] / "configs/crawls/example.yaml"
IN_FILES = CrawlSettings.model_fields.keys() - FROM_RECIPE.keys() - INTERNAL
VALUES: dict[str, tuple[Any, Any]] = {
    "contact": ("file@example.org", "option@example.org"),
    "agent": ("from-file", "from-option"),
    "delay_s": (3.0, 4.0),
    "hours": (0.5, 2.0),
    "concurrency": (5, 6),
    "partitions": (2, 3),
    "allow_loopback": (True, False),
    "archive": ("http://file.test/web", "http://option.test/web"),
    "ports": (frozenset([81]), frozenset([82, 83])),
    "connect_to": (("a.test::127.0.0.1:1",), ("::127.0.0.1:2",)),
    "proxy": ("http://file.test:1", "http://option.test:2"),
}
"""Of each setting, a value for the file and another for the command line."""


def write(folder: Path, text: str) -> Path:
    path = folder / "crawl.yaml"
    path.write_text(text)
    return path


def dumped(values: dict[str, Any]) -> str:
    lists = {key: sorted(value) for key, value in values.items() if isinstance(value, frozenset | tuple)}
    return yaml.safe_dump(values | lists)


@given(in_file=st.sets(st.sampled_from(sorted(VALUES))), as_option=st.sets(st.sampled_from(sorted(VALUES))))
def test_an_option_counts_before_the_file_and_the_file_before_the_default(
    tmp_path_factory: pytest.TempPathFactory, in_file: set[str], as_option: set[str]
) -> None:
    file = write(tmp_path_factory.mktemp("crawl"), dumped({key: VALUES[key][0] for key in in_file}) or "{}")
    options = {key: VALUES[key][1] if key in as_option else None for key in VALUES}
    settings = CrawlSettings.load(options, file)
    for key, (of_file, of_option) in VALUES.items():
        default = CrawlSettings.model_fields[key].default
        expected = of_option if key in as_option else of_file if key in in_file else default
        assert getattr(settings, key) == expected


def test_without_a_file_and_options_all_is_as_by_default() -> None:
    assert CrawlSettings.load({"delay_s": None, "ports": None, "connect_to": []}) == CrawlSettings()


def test_the_example_holds_every_setting_with_its_default() -> None:
    assert yaml.safe_load(EXAMPLE.read_text()).keys() == IN_FILES
    assert CrawlSettings.load({}, EXAMPLE) == CrawlSettings()


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("dealy_s: 1", "dealy_s: unknown key; write delay_s, or remove it"),
        ("delay: 1", "delay: unknown key; write delay_s"),
        ("connect-to: []", "connect-to: unknown key; write connect_to"),
        ("port: 80", "port: unknown key; write ports"),
        (
            "forgotten: {}",
            "forgotten: unknown key; remove it, or use one of: agent, allow_loopback, archive,",
        ),
        ("1: 2", "1: unknown key; remove it"),
        (
            "max_redirects: 3",
            "max_redirects: the corpus has frozen it as its recipe's collect.crawl.max_redirects; remove it",
        ),
        ("max_page_bytes: 3", "its recipe's collect.crawl.max_bytes; remove it here"),
        ("delay_s: -1", "delay_s: Input should be greater than or equal to 0, not -1"),
        ("concurrency: many", "concurrency: Input should be a valid integer"),
        ("ports: [0]", "ports.0: Input should be greater than or equal to 1, not 0"),
        (
            "connect_to: [foo]",
            "connect_to: 'foo' is not HOST1:PORT1:HOST2:PORT2, for example ::127.0.0.1:8080",
        ),
        ("contact: me", "contact: 'me' is neither an e-mail address nor a page"),
        ('contact: "a@b.test\\nX-Header: 1"', "does not fit on one line"),
        ("agent: my bot 2", "agent: 'my bot 2' is not of the letters a to z"),
        ("archive: example.org", "archive: 'example.org' is no URL"),
        ("proxy: socks://p:1", "proxy: is not http://[NAME:PASSWORD@]HOST:PORT"),
        ("- contact", "expected keys such as contact, delay_s and concurrency, found list"),
        ("contact: [", "not YAML"),
    ],
)
def test_a_mistake_in_the_file_names_file_key_and_remedy(tmp_path: Path, text: str, advice: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        CrawlSettings.load({}, file)
    assert str(refused.value).startswith(f"{file}: ")
    assert advice in str(refused.value)


def test_all_mistakes_in_the_file_are_named_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "contcat: a@b.test\ndelay_s: -1\nmax_redirects: 3\nagent: outbound\n")
    with pytest.raises(UsageError) as refused:
        CrawlSettings.load({}, file)
    first, *rest = str(refused.value).splitlines()
    assert first == f"{file}: 3 mistakes"
    assert [line.split(":")[0].strip() for line in rest] == ["contcat", "max_redirects", "delay_s"]


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"delay_s": -1}, "--delay: Input should be greater than or equal to 0, not -1"),
        ({"ports": [70000]}, "--port: Input should be less than or equal to 65535, not 70000"),
        ({"contact": "me"}, "--contact: 'me' is neither"),
        ({"connect_to": ["::127.0.0.1:1", "foo"]}, "--connect-to: 'foo' is not"),
        ({"archive_first": True}, "--archive-first (archive_first): which archive?"),
        ({"ca_file": Path("gone.pem")}, "--ca-file (ca_file): gone.pem: cannot read certificate authorities"),
    ],
)
def test_a_mistake_in_an_option_names_the_option(options: dict[str, Any], advice: str) -> None:
    with pytest.raises(UsageError) as refused:
        CrawlSettings.load(options)
    assert str(refused.value).startswith(advice)


def test_a_password_is_not_repeated_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        CrawlSettings.load({}, write(tmp_path, "proxy: https://me:secret@proxy.test:1"))
    assert "secret" not in str(refused.value)


def test_a_path_in_the_file_begins_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    with pytest.raises(UsageError, match=f"{tmp_path}/conf/gone.pem: cannot read certificate authorities"):
        CrawlSettings.load({}, write(tmp_path / "conf", "ca_file: gone.pem"))


def test_the_recipe_decides_what_enters_the_corpus() -> None:
    limits = Crawl(max_bytes=10, total_timeout_s=2, max_redirects=1)
    settings = CrawlSettings(delay_s=7).limited(limits)
    found = settings.max_page_bytes, settings.total_timeout_s, settings.max_redirects, settings.delay_s
    assert found == (10, 2, 1, 7)


def test_only_a_crawl_of_this_machine_needs_no_contact() -> None:
    CrawlSettings(allow_loopback=True).refuse_without_contact()
    CrawlSettings(contact="https://example.org/crawl").refuse_without_contact()
    with pytest.raises(UsageError, match=r"--contact \(contact\): is missing; give an e-mail address"):
        CrawlSettings().refuse_without_contact()
