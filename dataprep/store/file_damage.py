"""What could not be read of an input file, for the record of its part and for people."""

from __future__ import annotations

from dataclasses import dataclass, field

EXAMPLES = 10


@dataclass
class FileDamage:
    """Lines (or rows, or captures) of one file that are damaged, the first of them named, and where reading
    had to stop."""

    path: str
    lines: int = 0
    bad_lines: int = 0
    examples: list[str] = field(default_factory=list)
    stopped: str | None = None

    def note(self, place: str, what: object) -> None:
        """Count something damaged."""
        self.count(1, [f"{place}: {what}"[:300]])

    def count(self, number: int, examples: list[str]) -> None:
        """Count so many damaged lines, of which these are examples."""
        self.bad_lines += number
        self.examples = [*self.examples, *examples][:EXAMPLES]

    @property
    def found(self) -> bool:
        """Whether anything is damaged."""
        return bool(self.bad_lines or self.stopped)

    @property
    def why_nothing(self) -> str:
        """Why a file without any whole line had none."""
        if self.stopped:
            return self.stopped
        first = f", {self.examples[0]}" if self.examples else ""
        return f"none of its {self.lines:,} lines is one{first}"


@dataclass(frozen=True, kw_only=True)
class InputNotes:
    """Notes of a part that was read from files: what of them was damaged, and how many captures opted out of
    training, by signal."""

    damage: list[FileDamage] = field(default_factory=list)
    opt_outs: dict[str, int] = field(default_factory=dict)
