"""What could not be read of an input, for the record and for people."""

from __future__ import annotations

from dataclasses import dataclass, field

EXAMPLES = 10


@dataclass
class Losses:
    """Rows of one input that are damaged, the first of them named, and where reading had to stop."""

    path: str
    rows: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)
    stopped: str | None = None

    def note(self, place: str, what: object) -> None:
        """Count something damaged."""
        self.bad += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{place}: {what}"[:300])
