"""Docstrings become the elements that their habits mean."""

import pytest

from pipeline.demo.prose import to_html

CASES = {
    "a paragraph is joined": ("One line\nand another.", "<p>One line and another.</p>"),
    "an underline makes a heading": ("Notes\n-----\nText of it.", "<h3>Notes</h3>\n<p>Text of it.</p>"),
    "a session is code": (">>> 1 < 2\nTrue", "<pre>&gt;&gt;&gt; 1 &lt; 2\nTrue</pre>"),
    "indented code loses its margin": ("    x = f(1)\n      y = 2", "<pre>x = f(1)\n  y = 2</pre>"),
    "indented prose is a paragraph": (
        "    This sentence is indented but has words enough.",
        "<p>This sentence is indented but has words enough.</p>",
    ),
    "bullets are a list": ("* one\n  more\n* two", "<ul><li>one more</li><li>two</li></ul>"),
    "terms are defined": (
        "axis : int\n    The axis along which the sum is taken.\n"
        "out : array\n    Where the result is put, if given.",
        "<dl><dt>axis : int</dt><dd>The axis along which the sum is taken.</dd>"
        "<dt>out : array</dt><dd>Where the result is put, if given.</dd></dl>",
    ),
    "the margin ends an indented block": (
        "    An indented sentence with words enough here.\nBack at the margin.",
        "<p>An indented sentence with words enough here.</p>\n<p>Back at the margin.</p>",
    ),
    "code spans and roles": (
        "See :func:`f` and ``g(x)``.",
        "<p>See <code>f</code> and <code>g(x)</code>.</p>",
    ),
    "a code block's double colon is one": ("Like this::", "<p>Like this:</p>"),
    "markup is text": ("Returns <b> & more.", "<p>Returns &lt;b&gt; &amp; more.</p>"),
    "nothing is nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "html"), CASES.values(), ids=CASES.keys())
def test_docstrings_become_html(text: str, html: str) -> None:
    assert to_html(text) == html
