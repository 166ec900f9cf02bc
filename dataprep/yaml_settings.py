"""Settings in YAML: parsed without executing anything, and every mistake in them reported at once.

Run configurations, recipes and crawl files are read here. So a misspelt key gets the same answer everywhere:
the file, the key, the nearest key that is known there, and what to do.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dataprep.errors import UsageError

M = TypeVar("M", bound=BaseModel)

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's error types for a key that a model or a dataclass does not have."""


class _Loader(yaml.SafeLoader):
    """YAML that reads 1e-4 as a number; PyYAML follows YAML 1.1, which wants 1.0e-4."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read(path: Path, expected: str) -> dict[str, Any]:
    """Read a file of keys and values; `expected` names some of the keys for people.

    Raises UsageError for a file that is missing, is not YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not YAML: {error}; correct it") from None
    raw = parse(text, str(path))
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: expected {expected}, found {type(raw).__name__}; correct it")
    return raw


def parse(text: str, where: str) -> Any:
    """The value that a YAML text holds; raises UsageError that begins with `where`."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: the 31st of February
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())}; correct it") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply; correct it") from None


def override(raw: dict[str, Any], text: str, example: str) -> None:
    """Set one value in place: `override(raw, "optimizer.lr=1e-4", example)` sets raw["optimizer"]["lr"].

    A section that is missing or null is made. Raises UsageError, which shows the example.
    """
    path, equals, value = text.partition("=")
    *sections, name = path.split(".")
    if not equals or not all((*sections, name)):
        raise UsageError(f"{text!r}: an override is KEY=VALUE, for example {example}")
    for section in sections:
        if raw.get(section) is None:
            raw[section] = {}
        raw = raw[section]
        if not isinstance(raw, dict):
            raise UsageError(f"{text!r}: {section} is a value, not a section")
    if not re.match(r"\s*['\"\[{]", value) and re.search(r"(^|\s)#", value):
        raise UsageError(f"{text!r}: YAML takes what begins with # for a comment: put the value in quotes")
    raw[name] = parse(value, path)


def checked(kind: type[M], raw: object, where: str) -> M:
    """Make a model of plain YAML values; raises UsageError that lists every mistake."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise refusal(where, mistakes(kind, error)) from None


def take_unknown_keys(kind: type[BaseModel], raw: dict[str, Any], aliases: Collection[str] = ()) -> list[str]:
    """Take keys that a model does not know out of plain YAML values, in place; describe each as a mistake.

    The value of a misspelt key goes to the key that was meant, so that a typing error hides no other mistake.
    aliases: as of `mistakes`.
    """
    found: list[str] = []
    while True:
        try:
            kind.model_validate(raw)
            return found
        except ValidationError as error:
            unknown = [item for item in error.errors() if item["type"] in UNKNOWN_KEY]
        taken = [item for item in unknown if _path(item) not in aliases and _take(kind, raw, item, aliases)]
        if not taken:
            return found
        found += [_mistake(kind, item, aliases) for item in taken]


def mistakes(kind: type[BaseModel], error: ValidationError, aliases: Iterable[str] = ()) -> list[str]:
    """Every mistake that validation found, each as `path.of.key: what is wrong, and the remedy`.

    aliases: paths that are known beside the model's own fields, because they are read before it.
    """
    return [_mistake(kind, item, aliases) for item in error.errors()]


def refusal(where: str, found: Sequence[str]) -> UsageError:
    """The error for some mistakes in one place: a line for one, a list for several."""
    if len(found) == 1:
        return UsageError(f"{where}: {found[0]}")
    return UsageError("\n".join([f"{where}: {len(found)} mistakes", *(f"  {line}" for line in found)]))


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What to do about a key that nobody knows.

    >>> unknown_key("dealy_s", ["delay_s", "contact"])
    'unknown key; write delay_s, or remove it'
    >>> unknown_key("colour", ["delay_s", "contact"])
    'unknown key; remove it, or use one of: contact, delay_s'
    """
    if near := _nearest(key, known):
        return f"unknown key; write {near}, or remove it"
    return "unknown key; remove it" + (f", or use one of: {', '.join(sorted(known))}" if known else "")


def _nearest(key: str, known: Sequence[str]) -> str | None:
    return next(iter(get_close_matches(key, known, n=1)), None)


def _path(item: ErrorDetails) -> str:
    return ".".join(map(str, item["loc"] or ("(top)",)))


def _take(kind: type[BaseModel], raw: Any, item: ErrorDetails, aliases: Iterable[str]) -> bool:
    """Take an unknown key out; whether it was found."""
    *place, key = item["loc"]
    section = raw
    for step in place:
        try:
            section = section[step]
        except (KeyError, IndexError, TypeError):  # the member of a union, which pydantic names
            continue
    if not isinstance(section, dict) or key not in section:
        return False
    value, meant = section.pop(key), _nearest(str(key), _known_at(kind, place, aliases))
    if meant is not None:
        section.setdefault(meant, value)
    return True


def _mistake(kind: type[BaseModel], item: ErrorDetails, aliases: Iterable[str]) -> str:
    path = _path(item)
    if item["type"] in UNKNOWN_KEY:
        *place, key = item["loc"]
        return f"{path}: {unknown_key(str(key), _known_at(kind, place, aliases))}"
    if item["type"] == "missing":
        return f"{path}: is missing; give it a value"
    message = item["msg"].removeprefix("Value error, ")
    value = item["input"]
    shown = isinstance(value, str | int | float) and item["type"] != "value_error"
    return f"{path}: {message}" + (f", not {value!r}" if shown else "")


def _known_at(kind: type[BaseModel], place: Sequence[str | int], aliases: Iterable[str]) -> list[str]:
    """The keys that may stand at a place, also those that are read before the model."""
    prefix = "".join(f"{step}." for step in place)
    also = [alias.removeprefix(prefix) for alias in aliases if alias.startswith(prefix)]
    return [*_keys_at(kind, place), *also]


def _keys_at(kind: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys that a model knows at a place within it."""
    kinds: list[Any] = [kind]
    for step in place:
        within = [inner for member in kinds for inner in _inside(member, step)]
        kinds = within or kinds  # pydantic also names the member of a union that it tried
    return [key for member in kinds for key in _fields(member)]


def _inside(kind: Any, step: str | int) -> list[Any]:
    """The types of what stands under a key or an index of a type."""
    if step in (fields := _fields(kind)):
        return _members(fields[str(step)])
    if get_origin(kind) in (dict, Mapping):
        return _members(get_args(kind)[1])
    if get_origin(kind) in (list, tuple, Sequence) and isinstance(step, int):
        return _members(get_args(kind)[0])
    return []


def _members(kind: Any) -> list[Any]:
    """A type without annotations, or those of a union."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [
            member for argument in get_args(kind) if argument is not NoneType for member in _members(argument)
        ]
    return [kind]


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a model or a dataclass with their types."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return {field.name: field.type for field in dataclasses.fields(kind)}
    return {}
