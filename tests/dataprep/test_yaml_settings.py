"""Settings in YAML: each mistake is named with its key and what to do, all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from dataprep.errors import UsageError
from dataprep.yaml_settings import checked, override, read


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Source(Strict):
    weight: float = 1


@dataclass(frozen=True)
class Shape:
    width: int = 1


class Settings(Strict):
    delay_s: float = Field(default=1, ge=0)
    contact: str
    shape: Shape | None = None
    sources: dict[str, Annotated[Source, "a remark"]] = {}
    steps: list[Source] = []

    @field_validator("contact")
    @classmethod
    def _is_an_address(cls, contact: str) -> str:
        if "@" not in contact:
            raise ValueError("give an e-mail address")
        return contact


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"contact": "a@b", "dealy_s": 1}, "f: dealy_s: unknown key; write delay_s, or remove it"),
        (
            {"contact": "a@b", "colour": 1},
            "f: colour: unknown key; remove it, or use one of: contact, delay_s, shape, sources, steps",
        ),
        ({"contact": "a@b", "shape": {"widht": 1}}, "f: shape.widht: unknown key; write width"),
        (
            {"contact": "a@b", "sources": {"x": {"wieght": 1}}},
            "f: sources.x.wieght: unknown key; write weight",
        ),
        ({"contact": "a@b", "steps": [{"wieght": 1}]}, "f: steps.0.wieght: unknown key; write weight"),
        ({"contact": "a@b", "delay_s": -1}, "f: delay_s: Input should be greater than or equal to 0, not -1"),
        ({"contact": "me"}, "f: contact: give an e-mail address"),
        ({}, "f: contact: is missing; give it a value"),
        ([], "f: (top): Input should be a valid dictionary"),
    ],
)
def test_a_mistake_names_its_key_and_the_remedy(raw: object, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked(Settings, raw, "f")
    assert str(refused.value).startswith(message)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(UsageError, match=r"^f: 3 mistakes\n") as refused:
        checked(Settings, {"contact": "me", "delay_s": "soon", "dns": 1}, "f")
    assert len(str(refused.value).splitlines()) == 4


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("a: [", "not YAML"),
        ("a: 2025-02-31", "not YAML: day is out of range"),
        ("a: \xff", "not YAML"),
        ("[" * 3000, "nested too deeply"),
        ("just words", "expected keys, found str"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_a_file_that_holds_no_keys_is_refused_by_name(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "settings.yaml"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=f"{path}: {message}"):
        read(path, "keys")


def test_an_override_makes_the_sections_that_are_missing() -> None:
    raw = {"near": None, "words": 1}
    for text in ("near.bands=20", "limits.rate=1e-4", "words=[2, 3]"):
        override(raw, text, "words=1")
    assert raw == {"near": {"bands": 20}, "limits": {"rate": 1e-4}, "words": [2, 3]}
    with pytest.raises(UsageError, match="words is a value, not a section"):
        override(raw, "words.x=1", "words=1")
