"""Docstrings to HTML: headings, paragraphs, lists, definitions and code.

Docstrings have no grammar, but they have habits: blank lines part blocks, an underline makes a heading
(reST, NumPy's sections), a hanging indent defines a term, `>>>` is a session, deeper indents are code.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Iterator

_UNDERLINE = re.compile(r"([-=~*^\"'+])\1{2,}\s*$")
_BULLET = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+(?=\S)")
_CODE_SPAN = re.compile(r"``(.+?)``|`([^`\n]+)`")
_ROLE = re.compile(r":[a-z]+(?::[a-z]+)?:(?=`)")  # reST's :ref:`...` and :py:class:`...`
_SENTENCE = re.compile(r"[A-Za-z][\w'’-]*(?:[ ,;:()`*\"-]+\w[\w'’.-]*){4,}")
_CODE_MARK = re.compile(r"::=|>>>|^\s*[<{#$%@|+]|\w\(.*\)\s*$|^\s*(?:def|class|import|from|return) ", re.M)


def to_html(text: str, heading: int = 3) -> str:
    """Render a cleaned docstring as a run of block elements, its headings at level `heading`.

    >>> to_html("Add two numbers.\\n\\n    total = add(1, 2)")
    '<p>Add two numbers.</p>\\n<pre>total = add(1, 2)</pre>'
    """
    return "\n".join(_render(block, heading) for block in _blocks(text))


def _blocks(text: str) -> Iterator[list[str]]:
    """Part a text at blank lines, and around underlined headings."""
    block: list[str] = []
    for line in text.expandtabs().splitlines():
        if _UNDERLINE.match(line.strip()) and len(block) == 1 and len(line.strip()) <= len(block[0]) + 4:
            yield [*block, line]
            block = []
        elif line.strip():
            if block and _indent(block[0]) >= 2 and not _indent(line):  # back at the margin: another thing
                yield block
                block = []
            block.append(line.rstrip())
        elif block:
            yield block
            block = []
    if block:
        yield block


def _render(block: list[str], heading: int) -> str:
    first, *rest = block
    if len(block) == 2 and _UNDERLINE.match(rest[0].strip()):
        return f"<h{heading}>{_inline(first.strip())}</h{heading}>"
    if first.lstrip().startswith(">>>"):
        return _pre(block)
    if _BULLET.match(first):
        return _list(block)
    if _indent(first) >= 2:
        return _paragraph(block) if _is_prose(block) else _pre(block)
    if rest and _indent(rest[0]) >= 2 and _is_prose([line for line in rest if _indent(line)]):
        return _definitions(block)
    if rest and any(_indent(line) >= 2 for line in rest) and not _is_prose(block):
        return _pre(block)
    return _paragraph(block)


def _list(block: list[str]) -> str:
    items: list[list[str]] = []
    for line in block:
        if _BULLET.match(line) and (not items or _indent(line) <= _indent(block[0])):
            items.append([_BULLET.sub("", line)])
        else:
            items[-1].append(line)
    return "<ul>" + "".join(f"<li>{_inline(_join(item))}</li>" for item in items) + "</ul>"


def _definitions(block: list[str]) -> str:
    """Terms at the margin, what they mean indented below them (NumPy's parameters)."""
    parts: list[str] = []
    for indented, lines in itertools.groupby(block, key=lambda line: _indent(line) >= 2):
        if indented:
            parts.append(f"<dd>{_inline(_join(lines))}</dd>")
        else:
            parts += (f"<dt>{_inline(line.strip())}</dt>" for line in lines)
    return f"<dl>{''.join(parts)}</dl>"


def _paragraph(block: list[str]) -> str:
    return f"<p>{_inline(_join(block))}</p>"


def _pre(block: list[str]) -> str:
    margin = min(_indent(line) for line in block)
    return f"<pre>{html.escape(chr(10).join(line[margin:] for line in block), quote=False)}</pre>"


def _inline(text: str) -> str:
    text = _ROLE.sub("", text.removesuffix(":") if text.endswith("::") else text)
    return _CODE_SPAN.sub(lambda m: f"<code>{m[1] or m[2]}</code>", html.escape(text, quote=False))


def _is_prose(lines: list[str]) -> bool:
    text = _join(lines)
    return bool(_SENTENCE.search(text)) and not _CODE_MARK.search("\n".join(lines))


def _join(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
