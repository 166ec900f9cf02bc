"""Input and output of an engine: examples of a set, and the measurements of each."""

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

    name: TASK/SHOTS/PROTOCOL. shots: number of solved examples before each question. training: the examples
    that they are drawn from (`shots.draw`). seed: of the draws. examples: the questions.
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
    """The measurements of one example.

    values: for each measure (`measures.py`), the numbers whose sums over documents give its value. shown:
    number of solved examples that fitted into the context. sample: prompt, answer and gold, for readers.
    """

    example: Example
    values: dict[str, Sequence[float]]
    shown: int = 0
    sample: dict[str, Any] = field(default_factory=dict)
