"""What an engine gets and gives: examples of a set, and what was measured for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.eval.tasks import ProtocolFile, TaskFile


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example of a set.

    file: its path in the directory of sets. line: from 1; 0 where the file has no lines. key: unique in the
    task: the set's own id, or FILE:LINE. unit: the article or story it belongs to: examples of one unit are
    not independent. row: its fields.
    """

    file: str
    line: int
    key: str
    unit: str
    row: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One task under one protocol: the argument of an engine.

    shots: how many solved examples stand before each question. training: what they are drawn from
    (`shots.draw`). seed: of the draw.
    """

    task: TaskFile
    name: str
    protocol: ProtocolFile
    shots: int
    seed: int
    examples: Sequence[Example]
    training: Sequence[Example]


@dataclass(frozen=True, kw_only=True)
class Document:
    """What was measured for one example.

    values: by the name of a measure (`measures.py`), the numbers whose sums over documents give its value.
    shown: how many solved examples fitted into the context. sample: what a reader of the results wants to see
    (prompt, answer, gold).
    """

    example: Example
    values: dict[str, Sequence[float]]
    shown: int = 0
    sample: dict[str, Any] = field(default_factory=dict)
