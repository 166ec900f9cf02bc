"""Sentences of a text, by rules: enough for "the first sentence" and "the first three"."""

from __future__ import annotations

import re

_BREAK = re.compile(r"[.!?…]+[\"'”’»)\]]*(?P<space>\s+)(?=[\"'“‘«(\[¿¡]*(?P<next>\w))")
_ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sen|Gov|Gen|Rep|Rev|Hon|Lt|Col|Sgt|Capt|Cmdr|Maj|Jr|Sr|vs|No|M|Mme|[A-Z])\.$"
)


def sentences(text: str) -> list[str]:
    """A sentence ends with a line, or with . ! ? where a capital letter or a digit follows, unless the word
    is an initial or a common title.

    >>> sentences("Mr. Smith of the U.S. army ran. He said: \\"Go!\\" Then 3.5 m more\\nThe end")
    ['Mr. Smith of the U.S. army ran.', 'He said: "Go!"', 'Then 3.5 m more', 'The end']
    """
    found = []
    for line in text.splitlines():
        start = 0
        for each in _BREAK.finditer(line):
            end, following = each.start("space"), each["next"]
            if (following.isupper() or following.isdigit()) and not _ABBREVIATION.search(line[start:end]):
                found.append(line[start:end].strip())
                start = end
        found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]
