"""The keys of a configuration file with type, default and meaning, from the models that read it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
from collections.abc import Collection, Iterator, Sequence, Set
from datetime import date
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

NAMES = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    date: "date",
    Path: "path",
    type(None): "none",
}
OWN = ("dataprep", "model", "pipeline", "slurm")
BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "at least {}"}


@dataclasses.dataclass(frozen=True)
class Key:
    """One key. name: with its sections, as `train.tokens`. default: in YAML, "" if it must be given."""

    name: str
    type: str
    default: str
    meaning: str


def keys(model: type, unused: Collection[str] = (), prefix: str = "") -> Iterator[Key]:
    """The keys of a pydantic model or a dataclass, and of those in it, in the order of the source.

    unused: fields of the model itself that no file holds.
    """
    meanings = _meanings(model)
    for name, (annotation, bounds, default) in _fields(model).items():
        section, below = _section(annotation)
        if name in unused:
            continue
        if section:
            yield from keys(section, prefix=f"{prefix}{name}{below}.")
        else:
            yield Key(prefix + name, _type(annotation, bounds), default, meanings.get(name, ""))


def _fields(model: type) -> dict[str, tuple[Any, Sequence[Any], str]]:
    """Annotation, bounds and default of each field of a model or a dataclass."""
    if issubclass(model, BaseModel):
        return {
            name: (
                info.annotation,
                info.metadata,
                "" if info.is_required() else _yaml(info.get_default(call_default_factory=True)),
            )
            for name, info in model.model_fields.items()
        }
    types = get_type_hints(model)
    return {
        each.name: (types[each.name], (), "" if _is_required(each) else _yaml(each.default))
        for each in dataclasses.fields(model)  # type: ignore[arg-type]
    }


def _is_required(each: dataclasses.Field[Any]) -> bool:
    return each.default is dataclasses.MISSING


def _section(annotation: Any) -> tuple[type | None, str]:
    """The model whose keys stand below a key, and what stands between."""
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    ):
        return annotation, ""
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return _section(arguments[1])[0], ".NAME"
    if get_origin(annotation) in (Union, UnionType):
        return next((found for each in arguments if (found := _section(each))[0]), (None, ""))
    return None, ""


def _type(annotation: Any, bounds: Sequence[Any] = ()) -> str:
    """A type for people.

    >>> _type(list[str] | None), _type(dict[str, float])
    ('list of text, or none', 'number by name')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], arguments[1:])
    if origin is Literal:
        text = ", ".join(f"`{value}`" for value in arguments)
    elif origin in (Union, UnionType):
        text = ", or ".join(_type(each) for each in arguments)
    elif origin is dict:
        text = f"{_type(arguments[1])} by name"
    elif origin is tuple and arguments[-1] is not Ellipsis:
        text = f"{len(arguments)} of {_type(arguments[0])}"
    elif origin is not None:
        text = f"list of {_type(arguments[0])}"
    else:
        text = NAMES[annotation]
    limits = [
        sign.format(getattr(bound, name))
        for each in bounds
        for bound in (each.metadata if isinstance(each, FieldInfo) else [each])
        for name, sign in BOUNDS.items()
        if hasattr(bound, name)
    ]
    return f"{text} ({', '.join(limits)})" if limits else text


def _yaml(value: Any) -> str:
    """A default as a file would hold it."""
    if isinstance(value, Set):
        value = sorted(value)
    plain = to_jsonable_python(value)
    return yaml.safe_dump(plain, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


def _meanings(model: type) -> dict[str, str]:
    """The text below each field of a class, and of those that it extends."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if each.__module__.partition(".")[0] in OWN:
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
            assert isinstance(node, ast.ClassDef)
            for statement, below in pairwise(node.body):
                match statement, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                        value=ast.Constant(value=str(text))
                    ):
                        found[name] = " ".join(text.split())
    return found
