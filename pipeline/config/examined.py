"""A run's settings as far as they can be read, with all that is wrong with them.

Mistakes are gathered here instead of raised one after another, so that one hides no other. A check is left
out only when a section that it reads has a mistake of its own: what it found would mislead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dataprep import yaml_settings
from dataprep.errors import DataError
from pipeline.config.sections import RunConfig
from pipeline.data.sources import Sources
from pipeline.errors import RunError, UsageError


@dataclass(kw_only=True)
class Examined:
    """The settings of one file and of overrides."""

    path: Path
    overrides: Sequence[str]
    config: RunConfig
    """Holds the sound sections only."""
    sound: frozenset[str] = frozenset()
    """Sections without a mistake."""
    sources: Sources | None = None
    """The data; None when they cannot be read, or need not be there yet."""
    errors: list[DataError | RunError] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether `config` holds every section."""
        return self.sound == frozenset(RunConfig.model_fields)

    def add(self, lines: Iterable[str]) -> None:
        """Add mistakes, each as `path.of.key: what is wrong, and the remedy`."""
        self.errors += [UsageError(self._with_origin(line)) for line in lines]

    @contextmanager
    def gather(self, key: str = "") -> Iterator[None]:
        """Add the error that ends this block, if one does, as a mistake of a key."""
        try:
            yield
        except (DataError, RunError) as error:
            line = self._with_origin(f"{key}: {error}" if key else str(error))
            known = UsageError if isinstance(error, UsageError) else DataError
            self.errors.append(RunError(line) if isinstance(error, RunError) else known(line))

    def check(self, sections: str, found: Callable[[RunConfig], list[str]]) -> None:
        """Add what a check finds. sections: the names of those that it reads; all of them must be sound."""
        if self.sound.issuperset(sections.split()):
            self.add(found(self.config))

    def refuse(self) -> None:
        """Raise what is wrong, if anything is: a line for one mistake, a list for several."""
        if len(self.errors) == 1:
            raise type(self.errors[0])(f"{self.path}: {self.errors[0]}")
        if self.errors:
            raise yaml_settings.refusal(str(self.path), [str(error) for error in self.errors])

    def _with_origin(self, line: str) -> str:
        """Name the overrides by which a mistake came in.

        >>> found = Examined(path=Path("run.yaml"), overrides=["optimizer.lrr=1"], config=None)
        >>> found.add(["optimizer.lrr: unknown key; write lr, or remove it"])
        >>> print(found.errors[0])
        optimizer.lrr (given as optimizer.lrr=1 on the command line): unknown key; write lr, or remove it
        """
        key, colon, reason = line.partition(": ")
        given = {override.partition("=")[0]: override for override in self.overrides}
        by = [
            text if len(text) <= 80 else f"{text[:80]}..."
            for name, text in given.items()
            if f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.")
        ]
        return f"{key} (given as {' '.join(by)} on the command line){colon}{reason}" if colon and by else line
