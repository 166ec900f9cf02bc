"""robots.txt: who may crawl what (RFC 9309), and what it says about training.

A group is the user-agent lines that stand together and the rules after them. Lines that the RFC does not know
split no group, wherever they stand (section 2.2.4). Beyond the RFC this reads, as the reference parser
(github.com/google/robotstxt) does, common misspellings, lines without a colon, names with a space, and
`/index.html`, which allows its folder. (No library keeps the group of a line beyond the RFC.)

Two kinds of lines regulate training. `Content-Signal: ai-train=no` (contentsignals.org, 2025) has no grammar:
it is of the group that it stands in, or of everybody before the first group and after a blank line.
`Content-Usage: [PATH] train-ai=n` (draft-ietf-aipref-attach-05, section 3) is a rule of its group. Of the
lines of one kind the longest path that matches decides, and of equal ones a no. A yes of one kind does not
outweigh a no of the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dataprep.crawl.path_patterns import PathPattern
from dataprep.crawl.usage_preferences import (
    CONTENT_SIGNAL,
    CONTENT_USAGE,
    forbids_training,
    signals_no_training,
)

LINE_CHARACTERS = 8 * 2083 - 1
"""What of a line is read: far more than any URL has, as the reference parser."""

_SPELLINGS = {
    "user-agent": ["user-agent", "useragent", "user agent"],
    "allow": ["allow"],
    "disallow": ["disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"],
    "crawl-delay": ["crawl-delay", "crawl delay"],
    "content-signal": ["content-signal"],
    "content-usage": ["content-usage"],
}
_NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}
_LINE = re.compile(
    rf"(?P<name>{'|'.join(_NAMES)})(?:[ \t]*:(?P<value>.*)|[ \t]+(?P<word>\S+))", re.IGNORECASE
)
_PRODUCT = re.compile(r"[A-Za-z_-]*")
_WITH_DIGITS = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Rule:
    """Whether paths of a pattern may be crawled, or trained on."""

    pattern: PathPattern
    allows: bool
    how: str = ""
    """The signal that an opt-out is reported by."""


@dataclass(frozen=True)
class Group:
    """The rules of a robots.txt for one agent, for crawling and for training, the longest pattern first."""

    crawling: list[Rule] = field(default_factory=list)
    training: list[Rule] = field(default_factory=list)
    crawl_delay_s: float | None = None

    def allows(self, path: str) -> bool:
        """Whether a path (`path_of`) may be crawled; robots.txt itself always may (section 2.2.2)."""
        rule = _decides(self.crawling, path)
        return rule is None or rule.allows or path == "/robots.txt"

    def opt_out(self, path: str) -> str:
        """What forbids that a page be trained on, "" if nothing does."""
        for how in dict.fromkeys(rule.how for rule in self.training):
            rule = _decides([rule for rule in self.training if rule.how == how], path)
            if rule and not rule.allows:
                return how
        return ""


@dataclass(frozen=True)
class _Block:
    """User-agent lines that stand together, in lower case, and the Allow and Disallow lines after them."""

    agents: set[str] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True)
class RobotsTxt:
    """A robots.txt, read once for all agents.

    training, delays_s: lines beyond the RFC, each with the agents named just above it, none for everybody.
    """

    blocks: list[_Block] = field(default_factory=list)
    training: list[tuple[set[str], Rule]] = field(default_factory=list)
    delays_s: list[tuple[set[str], float]] = field(default_factory=list)

    @staticmethod
    def parse(text: str) -> RobotsTxt:
        """Read a file; lines that mean nothing are skipped.

        >>> robots = RobotsTxt.parse("User-agent: a\\nCrawl-delay: 2\\nUser-agent: b\\nDisallow: /x")
        >>> [robots.of(agent).allows("/x") for agent in "abc"]
        [False, False, True]
        >>> [robots.of(agent).crawl_delay_s for agent in "abc"]
        [2.0, None, None]
        """
        robots = RobotsTxt()
        block, named = _Block(), set[str]()
        grouped = ruled = True  # whether a rule, or another line that we know, came after the last user-agent
        apart = False  # whether a blank line was the last
        for name, value in _lines(text):
            after_blank, apart = apart, not name
            match name:
                case "user-agent":
                    if grouped:
                        block = _Block()
                        robots.blocks.append(block)
                    if ruled:
                        named = set()
                    grouped = ruled = False
                    agents = _agents(value)
                    block.agents.update(agents)
                    named.update(agents)
                case "allow" | "disallow":
                    grouped = ruled = True
                    block.rules.extend(_crawling(name, value))
                case "crawl-delay":
                    ruled = True
                    robots.delays_s.extend((named, delay_s) for delay_s in _seconds(value))
                case "content-signal" | "content-usage":
                    ruled = True
                    everybody = name == "content-signal" and after_blank
                    agents = set() if everybody else named
                    robots.training.extend((agents, rule) for rule in _training(name, value))
        return robots

    def names(self, agent: str) -> bool:
        """Whether some group is for this agent by its name."""
        return any(agent.lower() in block.agents for block in self.blocks)

    def of(self, agent: str) -> Group:
        """What holds for an agent: all groups of its name together, or else those of `*`."""
        name = agent.lower() if self.names(agent) else "*"
        crawling = [rule for block in self.blocks if name in block.agents for rule in block.rules]
        training = [rule for agents, rule in self.training if name in agents or not agents]
        return Group(
            crawling=_longest_first(crawling, equal=True),
            training=_longest_first(training, equal=False),
            crawl_delay_s=max((delay_s for agents, delay_s in self.delays_s if name in agents), default=None),
        )


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The names and values of the lines that are known, and two empty strings for each blank line."""
    for line in re.split(r"\r\n|\r|\n", text):
        if not line.strip():
            yield "", ""
        elif found := _LINE.fullmatch(line[:LINE_CHARACTERS].partition("#")[0].strip()):
            yield _NAMES[found["name"].lower()], (found["word"] or found["value"] or "").strip()


def _agents(value: str) -> set[str]:
    """The product tokens that a user-agent line may mean, in lower case; `*` is everybody.

    >>> sorted(_agents("Foo Bar/2.1")), _agents("* (all)"), sorted(_agents("AI2Bot"))
    (['foo'], {'*'}, ['ai', 'ai2bot'])
    """
    if value == "*" or value.startswith(("* ", "*\t")):
        return {"*"}
    found = (_PRODUCT.match(value), _WITH_DIGITS.match(value))
    return {token[0].lower() for token in found if token and token[0]}


def _crawling(name: str, value: str) -> Iterator[Rule]:
    if not value:  # "Disallow:" forbids nothing
        return
    allows = name == "allow"
    yield Rule(PathPattern.of(value), allows)
    folder, slash, page = value.rpartition("/")
    if allows and slash and page.startswith("index.htm"):
        yield Rule(PathPattern.of(f"{folder}/$"), allows)


def _training(name: str, value: str) -> Iterator[Rule]:
    """The rule of a Content-Signal or Content-Usage line, if it is about training."""
    path, preferences = "", value
    if value.startswith("/"):
        path, _, preferences = value.replace("\t", " ").partition(" ")
    read, signal = {
        "content-usage": (forbids_training, CONTENT_USAGE),
        "content-signal": (signals_no_training, CONTENT_SIGNAL),
    }[name]
    forbids = read(preferences)
    if forbids is not None:
        yield Rule(PathPattern.of(path), not forbids, f"robots.txt {signal}")


def _seconds(value: str) -> Iterator[float]:
    try:
        delay_s = float(value)
    except ValueError:
        return
    if math.isfinite(delay_s) and delay_s >= 0:
        yield delay_s


def _longest_first(rules: Iterable[Rule], equal: bool) -> list[Rule]:
    """Rules in the order in which the first that matches decides; of equally long ones, `equal` does."""
    return sorted(rules, key=lambda rule: (-rule.pattern.octets, rule.allows is not equal))


def _decides(rules: list[Rule], path: str) -> Rule | None:
    return next((rule for rule in rules if rule.pattern.matches(path)), None)
