"""A quicker expression finds what the expression that it replaces finds."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml.etree import Element, SubElement, XPath

from dataprep.extract.xpaths import REMEMBERED_CHARACTERS, quicker

EXPRESSIONS = [
    ".//*[re:test(@class, '^nav|menu')]",
    ".//*[re:test(@id|@class, '^nav|menu')]",
    ".//*[re:test(@class|@id, '^nav|menu')]",
    ".//*[re:test(@class, 'NAV', 'i') or @id='menu']",
    ".//*[not(re:test(@class, 'nav')) and @id]",
    ".//*[re:test(@class, 'nav') and re:test(@id, 'menu') or re:test(@style, 'x')]",
    ".//*[re:test(@class, '^$|menu')]",  # found in an empty text, so in what has no class
    ".//*[re:test(@class, 'x*')]",
]
VALUES = st.sampled_from(["", "nav", "Nav", "a menu", "menu", "x", "na" * REMEMBERED_CHARACTERS + "v nav"])
ATTRIBUTES = st.lists(st.tuples(st.sampled_from(["id", "class", "style"]), VALUES), max_size=3)


@pytest.mark.slow(2)
@pytest.mark.parametrize("path", EXPRESSIONS)
@given(elements=st.lists(ATTRIBUTES, max_size=6))
def test_the_same_elements_are_found(path: str, elements: list[list[tuple[str, str]]]) -> None:
    """Also where both attributes stand: then the one that the page names first counts."""
    expression = XPath(path, namespaces={"re": "http://exslt.org/regular-expressions"})
    body = Element("body")
    for attributes in elements:
        element = SubElement(body, "div")
        for name, value in attributes:
            element.set(name, value)
    faster = quicker(expression)
    assert faster is not expression
    assert faster(body) == expression(body)


@pytest.mark.parametrize("path", [".//*[@class='nav']", ".//*[re:test(@class, 'nav') and so:not(@id)]"])
def test_an_expression_that_asks_no_pattern_or_something_unknown_stays(path: str) -> None:
    expression = XPath(path)
    assert quicker(expression) is expression


def test_every_expression_of_trafilatura_that_asks_a_pattern_is_replaced_once() -> None:
    """In a process where nothing has replaced them yet."""
    code = """
import sys
import trafilatura
from dataprep.extract.xpaths import install_fast_xpaths
from lxml.etree import XPath
from trafilatura import xpaths

def paths():
    found = [value if isinstance(value, list) else [value] for value in vars(xpaths).values()]
    return [each.path for values in found for each in values if isinstance(each, XPath)]

before = sum("re:test" in path for path in paths())
print(before, install_fast_xpaths("trafilatura") >= before > 10, install_fast_xpaths("trafilatura"))
cleaned = sys.modules["trafilatura.baseline"].BASIC_CLEAN_XPATH.path
print([path for path in paths() if "re:test(@" in path], "re:test(@" in cleaned)
"""
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0].split()[1:] == ["True", "0"]
    assert said[1] == "[] False"
