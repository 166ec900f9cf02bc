"""How texts are written: the settings of `outbound generate`, and those of the papers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from model.beam import Beam
    from model.generate import Sampling

DRAWN = ("temperature", "top_k", "top_p")
"""Settings of a draw; a search with beams has none of them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a text is written. Raises UsageError for a setting out of range."""

    max_tokens: int = 100
    temperature: float = 0.8
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int | None = None
    top_p: float | None = None
    beams: int | None = None
    """Beams that search the likeliest text; None draws it."""
    length_penalty: float = 0.6
    """With beams: 0 for none; above, longer texts score better."""
    stops: tuple[str, ...] = ()
    """Strings before which a text ends."""
    seed: int = 0
    """Text i is drawn with seed + i."""

    def __post_init__(self) -> None:
        _ = self.how
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens is {self.max_tokens}: at least 1")

    @property
    def how(self) -> Sampling | Beam:
        """The draw or the search."""
        from model.beam import Beam
        from model.generate import Sampling

        try:
            if self.beams is not None:
                return Beam(self.beams, self.length_penalty)
            return Sampling(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, seed=self.seed)
        except ValueError as error:
            raise UsageError(str(error)) from None

    def changed(self, given: dict[str, Any]) -> Settings:
        """These settings with others in their place: a draw replaces a search, and a search a draw.

        Raises UsageError for both at once.

        >>> searched = Settings().changed({"beams": 4})
        >>> searched.beams, searched.changed({"top_k": 40}).beams
        (4, None)
        """
        drawn = [name for name in DRAWN if given.get(name) is not None]
        if drawn and given.get("beams") is not None:
            raise UsageError(f"beams search, and {drawn[0]} is for a draw: give one of them")
        return replace(self, **({"beams": None} if drawn else {}) | given)

    def preset(self, name: str) -> Settings:
        """The settings of PRESETS in place of these, but for the length and the seed.

        Raises UsageError for another name.
        """
        if name not in PRESETS:
            raise UsageError(f"preset {name}: choose from {', '.join(PRESETS)}")
        return replace(Settings(max_tokens=self.max_tokens, seed=self.seed), **PRESETS[name].settings)

    def __str__(self) -> str:
        """The settings that count, as the options are written.

        >>> print(Settings(top_k=40, stops=("\\n",)))
        temperature 0.8, top-k 40, stop "\\n", max-tokens 100, seed 0
        """
        names = ["beams", "length_penalty"] if self.beams is not None else [*DRAWN]
        shown = [(name, getattr(self, name)) for name in names] + [
            ("stop", _quoted(each)) for each in self.stops
        ]
        shown += [("max_tokens", self.max_tokens), *([] if self.beams is not None else [("seed", self.seed)])]
        return ", ".join(f"{name.replace('_', '-')} {value}" for name, value in shown if value is not None)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return f'"{escaped}"'


class Preset(NamedTuple):
    """about: what the help shows. settings: fields of Settings; the others have their defaults."""

    about: str
    settings: dict[str, Any]


PRESETS = {
    "greedy": Preset("the likeliest token each time", {"temperature": 0.0}),
    # Radford et al. 2019: samples are drawn with top-k 40; the script that was released with the weights
    # draws from all tokens unless it is given a k.
    "gpt2": Preset("top-k 40, temperature 1", {"temperature": 1.0, "top_k": 40}),
    # Brown et al. 2020, section 2.4.
    "gpt3-qa": Preset(
        "4 beams, length penalty 0.6, stop at a new line",
        {"beams": 4, "length_penalty": 0.6, "stops": ("\n",)},
    ),
    # Brown et al. 2020, appendix C: news articles.
    "gpt3-news": Preset("top-p 0.9, temperature 1", {"temperature": 1.0, "top_p": 0.9}),
}
