"""The GPTs: plain torch modules."""

from typing import TYPE_CHECKING, Any

from model.config import GPTConfig
from model.presets import PRESETS

if TYPE_CHECKING:
    from model.gpt import GPT

__all__ = ["GPT", "PRESETS", "GPTConfig"]


def __getattr__(name: str) -> Any:
    """Import torch only for those who build a GPT: configurations are checked without it."""
    if name == "GPT":
        from model.gpt import GPT

        return GPT
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
