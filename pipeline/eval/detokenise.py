"""De-tokenizers for sets that were published as tokens, each with its inverse (GPT-2, section 3.1).

WikiText has `it sold 0 @.@ 5 million copies , they say` where a web page has `it sold 0.5 million copies,
they say`. A language model of the web should be measured on the second. This is fair only if nothing is lost:
the tokens must follow from the text. So each de-tokenizer has a tokenizer that undoes it. It writes tokens
together (as a *clump*, which has no space) only where the tokenizer finds the same tokens in the clump;
elsewhere the spaces stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plain:
    """A line as text. restored: whether its tokens follow from the text; where not, the text is the line."""

    text: str
    restored: bool


@dataclass(frozen=True, kw_only=True)
class Detokenizer:
    """pattern: matches one token of a clump after the other. token: the token that a match stands for.
    touches: whether token i is written right behind token i - 1. written: strings in tokens that have another
    form in a text. quote: the token that opens and closes quotes in turn."""

    pattern: re.Pattern[str]
    touches: Callable[[Sequence[str], int], bool]
    token: Callable[[re.Match[str]], str] = re.Match.group
    written: dict[str, str] = field(default_factory=dict)
    quote: str = ""

    def plain(self, line: str) -> Plain:
        """The text of a line of tokens; the spaces around the line are left out.

        >>> WIKITEXT.plain(' He said : " It cost $ 1 @,@ 000 , or 1 @.@ 5 % . " ').text
        'He said: "It cost $1,000, or 1.5%."'
        """
        line = line.strip(" ")
        text = " ".join(map(self._written, self._clumps(line.split(" "))))
        restored = self.tokenise(text) == line
        return Plain(text if restored else line, restored)

    def tokenise(self, text: str) -> str:
        """The tokens of a text, with one space between them."""
        return " ".join(token for clump in text.split(" ") for token in self._split(clump))

    def _split(self, clump: str) -> list[str]:
        """The tokens of a clump."""
        return [self.token(found) for found in self.pattern.finditer(clump)]

    def _written(self, tokens: list[str]) -> str:
        """Tokens as one clump where it would be split into them, else as the longest ones that would be."""
        for end in range(len(tokens), 1, -1):
            clump = "".join(map(self._form, tokens[:end]))
            if self._split(clump) == tokens[:end]:
                break
        else:
            end, clump = 1, self._form(tokens[0])
            clump = clump if self._split(clump) == tokens[:1] else tokens[0]
        return clump if end == len(tokens) else f"{clump} {self._written(tokens[end:])}"

    def _form(self, token: str) -> str:
        for string, form in self.written.items():
            token = token.replace(string, form)
        return token

    def _clumps(self, tokens: list[str]) -> list[list[str]]:
        """Tokens that touch, together."""
        clumps: list[list[str]] = []
        quoted = opened = False
        for number, token in enumerate(tokens):
            closes = quoted and token == self.quote
            if number and (closes or opened or self.touches(tokens, number)):
                clumps[-1].append(token)
            else:
                clumps.append([token])
            opened = token == self.quote and not quoted
            quoted ^= token == self.quote
        return clumps


_ABBREVIATIONS = "|".join(
    "Mr Mrs Ms Messrs Dr Prof Rev Hon St Jr Sr Gen Lt Col Sgt Capt Maj Cmdr Adm Gov Sen Rep Pres Mt Ft Ave "
    "Jan Feb Aug Sept Oct Nov Dec No Nos Inc Ltd Co Corp Bros vs etc var approx pp cf al".split()
)
"""Words that keep their full stop."""
_SHORT = rf"(?:[^\W\d_]\.)+ | (?:{_ABBREVIATIONS})\."
"""U.S., J., e.g., Mr."""
_SIGNS = r'"()\[\]{},;:!?%$£€°′″/—–=.\'’‘“”<>'
"""What is a token by itself."""
_PROSE = rf"""
    {_SHORT} | \.{{2,}}
  | (?<=[\w>.])'[^\W\d_]+                        # don 't, O 'Brien, <unk> 's
  | (?:(?<!\S)-)? [^\s{_SIGNS}-]+ (?:\.[^\W\d_][^\s{_SIGNS}-]*)* (?:-(?!\S))?   # -5, About.com, 18-
  | \S
"""
_LEFT = re.compile(r"[,;:!?.%)\]}/°′″—’]|\.{2,}|'[^\W\d_]+|@[-,.]@")
"""Tokens that touch the one before."""
_RIGHT = re.compile(r"[(\[{$£€/—]|@[-,.]@")
"""Tokens that touch the one behind."""


def _prose_touches(tokens: Sequence[str], number: int) -> bool:
    before, token = tokens[number - 1], tokens[number]
    behind = tokens[number + 1] if number + 1 < len(tokens) else ""
    if _LEFT.fullmatch(token) or _RIGHT.fullmatch(before):
        return True
    if token == "'":  # the Beatles ' songs
        return before.endswith("s")
    if token == "–":  # 1914 – 18
        return before[-1:].isdigit() and behind[:1].isdigit()
    if before == "–":
        return token[:1].isdigit() and number > 1 and tokens[number - 2][-1:].isdigit()
    if before == "°":
        return token in ("C", "F") or token.isdigit()
    return before == token == "="


WIKITEXT = Detokenizer(
    pattern=re.compile(
        rf"""<unk> | @[-,.]@
          | (?P<inner> (?<=[^\s("])-(?=\S) | (?<=[\w>]),(?=[\w<]) | (?<=[\d>])\.(?=[\d<]) )
          | {_PROSE}""",
        re.VERBOSE,
    ),
    token=lambda found: f"@{found[0]}@" if found.lastgroup else found[0],
    written={"@-@": "-", "@,@": ",", "@.@": "."},
    touches=_prose_touches,
    quote='"',
)
"""WikiText (Merity et al. 2017): the tokenizer of Moses; - , . inside a word or number are @-@ @,@ @.@."""

NEWS = Detokenizer(
    pattern=re.compile(
        rf"<unk> | \d+(?:[.,]\d+)+ | [^\W\d_]+(?:-\w+)+ | --+ | {_PROSE}",
        re.VERBOSE,
    ),
    touches=_prose_touches,
    quote='"',
)
"""The One Billion Word benchmark (Chelba et al. 2014): as WikiText, but words and numbers stay whole."""

_CLITIC = r"n't(?!\w) | '(?:s|re|ve|ll|d|m)?(?!\w)"
"""do n't, it 's, the owners '."""
_TREEBANK_LEFT = re.compile(r"[,;:!?.%]|\.{2,}|n't|'(?:s|re|ve|ll|d|m)?|''|-RRB-")
_TREEBANK_RIGHT = re.compile(r"``|`|-LRB-|\w*\$|\#")


def _treebank_touches(tokens: Sequence[str], number: int) -> bool:
    return bool(_TREEBANK_LEFT.fullmatch(tokens[number]) or _TREEBANK_RIGHT.fullmatch(tokens[number - 1]))


PTB = Detokenizer(
    pattern=re.compile(rf"<unk> | \w*\$ | [%\#] | {_CLITIC} | (?:(?!{_CLITIC})[^\s<%\#])+ | \S", re.VERBOSE),
    token=lambda found: found[0].replace("/", r"\/").replace("*", r"\*"),
    touches=_treebank_touches,
    written={r"\/": "/", r"\*": "*"},
)
"""The Penn Treebank as Mikolov et al. (2010) published it: lower case, no punctuation, numbers as N, rare
words as <unk>. N and <unk> stay as they are, which hurts a model of the web."""

_CBT_TOKENS = {"opening": "``", "closing": "''", "tick": "`", "left": "-LRB-", "right": "-RRB-"}

CBT = Detokenizer(
    pattern=re.compile(
        rf"""(?P<opening> (?<![^\s('])"(?=\S)) | (?P<closing> ") | (?P<tick> (?<![^\s("])'(?=\S))
          | (?P<left> \() | (?P<right> \)) | {_SHORT} | \.{{2,}} | --+ | {_CLITIC} | [,;:!?%]
          | (?:(?!{_CLITIC} | --)[^\s,;:!?.%()"])+ | \S""",
        re.VERBOSE,
    ),
    token=lambda found: _CBT_TOKENS.get(found.lastgroup or "", found[0]),
    touches=_treebank_touches,
    written={"``": '"', "''": '"', "`": "'", "-LRB-": "(", "-RRB-": ")"},
)
"""The Children's Book Test (Hill et al. 2016): the tokens of the Penn Treebank, with `` and '' for quotes."""
