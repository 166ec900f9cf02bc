"""Preferences about training in Content-Usage and Content-Signal.

Content-Usage (draft-ietf-aipref-vocab-08, section 6) is a dictionary of structured fields; a value that
breaks its grammar states nothing. Content-Signal (contentsignals.org) has no grammar and is read as it is
written: `NAME=yes|no` with commas.
"""

from __future__ import annotations

import re

CONTENT_USAGE = "Content-Usage: train-ai=n"
CONTENT_SIGNAL = "Content-Signal: ai-train=no"
"""The names of opt-outs by either."""

_KEY = r"[a-z*][a-z0-9_.*-]*"
_TOKEN = r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*"
_STRING = r'%?"(?:[ !#-\[\]-~]|\\["\\])*"'
_NUMBER = r"@?-?[0-9]{1,15}(?:\.[0-9]{1,3})?"
_ITEM = rf"(?:{_TOKEN}|{_STRING}|{_NUMBER}|:[A-Za-z0-9+/=]*:|\?[01])"
_PARAMETERS = rf"(?:; *{_KEY}(?:={_ITEM})?)*"
_LIST = rf"\( *(?:{_ITEM}{_PARAMETERS}(?: +{_ITEM}{_PARAMETERS})*)? *\)"
_MEMBER = re.compile(rf"(?P<key>{_KEY})(?:=(?P<value>{_ITEM}|{_LIST}))?{_PARAMETERS}")
_COMMA = re.compile(r"[ \t]*,[ \t]*")

_SIGNAL = re.compile(r"""(?<![\w-])ai-train["']?\s*[=:]\s*["']?(yes|no)(?![\w-])""", re.IGNORECASE)


def forbids_training(content_usage: str) -> bool | None:
    """Whether a Content-Usage value forbids training; None if it states neither.

    Drafts before vocab-05 had `train-genai`, which is what we do, and `bots`, any automated use: a no there
    counts where `train-ai` is missing.

    >>> [forbids_training(text) for text in ("train-ai=n", "train-ai=y, search=n", "train-ai=N", "search=n")]
    [True, False, None, None]
    """
    preferences = dictionary(content_usage)
    stated = preferences.get("train-ai")
    if stated in ("y", "n"):
        return stated == "n"
    return True if "n" in (preferences.get("train-genai"), preferences.get("bots")) else None


def signals_no_training(content_signal: str) -> bool | None:
    """Whether a Content-Signal value forbids training; None if it states neither.

    >>> [signals_no_training(text) for text in ("search=yes,ai-train=no", "AI-Train = yes", "search=no")]
    [True, False, None]
    """
    found = [answer.lower() for answer in _SIGNAL.findall(content_signal)]
    return "no" in found if found else None


def dictionary(text: str) -> dict[str, str]:
    """A dictionary of structured fields (RFC 9651, section 3.2): key to value as it is written, without
    parameters; of a repeated key the last. What is no dictionary is an empty one.

    >>> dictionary('a=n;why="x, a=y", b, c=(1 2), a=?0'), dictionary("a=n,"), dictionary("A=n")
    ({'a': '?0', 'b': '?1', 'c': '(1 2)'}, {}, {})
    """
    text, found, place = text.strip(" "), dict[str, str](), 0
    while member := _MEMBER.match(text, place):
        found[member["key"]] = member["value"] or "?1"
        if member.end() == len(text):
            return found
        comma = _COMMA.match(text, member.end())
        if comma is None:
            return {}
        place = comma.end()
    return {}
