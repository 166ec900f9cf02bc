"""`outbound recipes`: what is shipped, listed and printed."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.config.named import ROOT, shipped
from support.cli import result
from support.cli import run as outbound


def test_every_shipped_file_is_listed_with_what_it_is() -> None:
    entries = result("recipes")["recipes"]
    files = {path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.yaml")}
    assert {f"{entry['kind']}/{entry['name']}" for entry in entries} == files
    assert [entry["name"] for entry in entries if not 1 < len(entry["about"]) < 90] == []
    text = outbound("recipes").stdout
    assert re.search(r"\ncrawls\n  example +Every setting of a crawl, with its default\n", text)


def test_a_shipped_file_is_printed_as_it_is(tmp_path: Path) -> None:
    for each in shipped():
        assert outbound("recipes", f"{each.kind}/{each.name}").stdout == each.path.read_text()
    assert result("recipes", "webtext")["path"] == str(ROOT / "corpora" / "webtext.yaml")


def test_a_name_that_is_none_or_several_is_answered_with_the_way_on() -> None:
    none, several = outbound("recipes", "nonsense"), outbound("recipes", "example")
    assert (none.returncode, several.returncode) == (2, 2)
    assert "`outbound recipes` lists them" in none.stderr
    assert "give clusters/example or crawls/example" in several.stderr
