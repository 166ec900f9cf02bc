"""trafilatura's XPath expressions in a form that finds the same elements in less time.

Many ask Python for a regular expression (`re:test`) at every element. Ours ask only where the attribute
stands, hand over its text instead of a list of nodes, and remember what a pattern said of a text, since a
page has few distinct classes on many elements.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache

from lxml.etree import XPath

REMEMBERED = 1 << 16
"""How many answers are kept, those that were asked for last."""
REMEMBERED_CHARACTERS = 256
"""Of texts up to this long, so that the answers take 30 MB at most; a class is seldom longer."""

_REGEXP = "http://exslt.org/regular-expressions"
_TEST = re.compile(r"re:test\((@[\w-]+(?:\|@[\w-]+)*), *'([^']*)'")
_PREFIX = re.compile(r"""'[^']*'|"[^"]*"|\b([\w-]+):(?!:)""")


def install_fast_xpaths(package: str) -> int:
    """Replace the expressions in a package's loaded modules, also those in lists; returns how many."""
    replaced = 0
    for module in [loaded for name, loaded in sys.modules.items() if name.startswith(f"{package}.")]:
        for name, value in list(vars(module).items()):
            if isinstance(value, XPath):
                setattr(module, name, quicker(value))
                replaced += getattr(module, name) is not value
            elif isinstance(value, list):  # in place, since modules share their lists
                new = [quicker(entry) if isinstance(entry, XPath) else entry for entry in value]
                replaced += sum(one is not other for one, other in zip(new, value, strict=True))
                value[:] = new
    return replaced


def quicker(expression: XPath) -> XPath:
    """An expression for elements that finds the same ones; itself where nothing can be gained."""
    path = _TEST.sub(_guarded, expression.path)
    prefixes = {found for found in _PREFIX.findall(path) if found}
    if path == expression.path or prefixes != {"re"}:  # which others mean an XPath does not tell
        return expression
    return XPath(
        path,
        namespaces={"re": _REGEXP},
        extensions={(_REGEXP, "test"): _test},
        regexp=False,
        smart_strings=False,
    )


def _guarded(found: re.Match[str]) -> str:
    """A test that is false where there is no attribute, unless its pattern is found in an empty text."""
    attribute, pattern = found.groups()
    test = f"re:test(string({attribute}), '{pattern}'"
    return test if re.search(pattern, "") else f"{attribute} and {test}"


def _test(_: object, text: str | list[str], pattern: str, flags: str = "") -> bool:
    """`re:test` as lxml defines it: of several nodes the first counts, and none are an empty text."""
    if isinstance(text, list):
        text = text[0] if text else ""
    return (_search if len(text) <= REMEMBERED_CHARACTERS else _search.__wrapped__)(text, pattern, flags)


@lru_cache(REMEMBERED)
def _search(text: str, pattern: str, flags: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE if "i" in flags else 0) is not None
