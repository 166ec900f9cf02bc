"""From YAML and overrides to a resolved configuration: data pinned, the model's absent fields filled in."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dataprep.store import files
from model import PRESETS
from pipeline.config.sections import Data, Run, RunConfig
from pipeline.config.validate import check_config, check_data, check_init_from
from pipeline.data.sources import Sources
from pipeline.errors import UsageError


def load_config(path: Path, overrides: list[str]) -> tuple[RunConfig, Sources]:
    """Read a YAML file, apply `a.b=c` overrides, and resolve what depends on the data.

    Raises UsageError that lists every mistake with its path, RunError when the tokens cannot be read.
    """
    raw = _overridden(path, overrides)
    sources = _pin(raw)
    _complete_model(raw, sources)
    config = _validated(raw, path)
    assert sources is not None  # only a broken data section, reported above, has none
    if found := [*check_config(config), *check_data(config, sources), *check_init_from(config, sources)]:
        raise _refusal(path, found)
    return config, sources


def load_ahead(path: Path, overrides: list[str]) -> RunConfig:
    """Read a configuration whose tokens need not be packed yet, for planning.

    Without them the vocabulary is the preset's, or what `model.vocab_size` says.

    Raises UsageError that lists every mistake with its path, RunError when tokens that are there are damaged.
    """
    raw = _overridden(path, overrides)
    _complete_model(raw, _pin(raw) if _packed(raw) else None)
    if isinstance(raw.get("model"), dict) and "vocab_size" not in raw["model"]:
        raise UsageError(
            f"{path}: model.vocab_size: the tokens, which would say it, are not packed yet: "
            "give it, as in model.vocab_size=50257"
        )
    config = _validated(raw, path)
    if found := check_config(config):
        raise _refusal(path, found)
    return config


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration; `load_config` reads the same back."""
    files.replace(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


class _Loader(yaml.SafeLoader):
    """YAML that reads 1e-4 as a number; PyYAML follows YAML 1.1, which wants 1.0e-4."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _overridden(path: Path, overrides: list[str]) -> dict[str, Any]:
    raw = _read(path)
    for override in overrides:
        _apply(raw, override)
    return raw


def _validated(raw: dict[str, Any], path: Path) -> RunConfig:
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise _refusal(path, found) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not YAML: {error}") from None
    raw = _parse(text, str(path))
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: expected sections (run, data, model, ...), found {type(raw).__name__}")
    return raw


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: the 31st of February
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply") from None


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one value in place: `_apply(raw, "optimizer.lr=1e-4")`."""
    path, equals, value = override.partition("=")
    *sections, name = path.split(".")
    if not equals or not all((*sections, name)):
        raise UsageError(f"{override!r}: an override looks like optimizer.lr=1e-4")
    for section in sections:
        if not isinstance(raw.setdefault(section, {}), dict):
            raise UsageError(f"{override!r}: {section} is a value, not a section")
        raw = raw[section]
    if not re.match(r"\s*['\"\[{]", value) and re.search(r"(^|\s)#", value):
        raise UsageError(
            f"{override!r}: YAML takes what begins with # for a comment: put the value in quotes"
        )
    raw[name] = _parse(value, path)


def _pin(raw: dict[str, Any]) -> Sources | None:
    """Choose the generations, as the run did when it began; None when the data section is too broken."""
    try:
        data = Data.model_validate(raw["data"])
        begun = _begun(Run.model_validate(raw["run"]).dir / "config.yaml")
    except (ValidationError, KeyError):
        return None
    wanted = {
        name: (tokens, generation or begun.get(name), weight)
        for name, (tokens, generation, weight) in data.sources().items()
    }
    sources = Sources.load(wanted, data.stream)
    for override in pinning(sources):
        _apply(raw, override)
    return sources


def _packed(raw: dict[str, Any]) -> bool:
    """Whether all directories of the data section exist; a broken one is reported later."""
    try:
        sources = Data.model_validate(raw["data"]).sources()
    except (ValidationError, KeyError):
        return False
    return all(tokens.is_dir() for tokens, _, _ in sources.values())


def pinning(sources: Sources) -> list[str]:
    """The overrides that pin the generations of some sources."""
    return [
        f"data.mixture.{name}.generation={number}" if name else f"data.generation={number}"
        for name, number in sources.pins.items()
    ]


def _begun(resolved: Path) -> dict[str, int | None]:
    """The generations in a run's own config.yaml, by source; of none, if the run has not begun."""
    if not resolved.exists():
        return {}
    sources = Data.model_validate(_read(resolved)["data"]).sources()
    return {name: generation for name, (_, generation, _) in sources.items()}


def _complete_model(raw: dict[str, Any], sources: Sources | None) -> None:
    """Fill the model's absent fields, in place: ids from the tokenizer, then those of the preset or start."""
    given = raw.setdefault("model", {}) if _start(raw) else raw.get("model")
    if not isinstance(given, dict):
        return
    fields = {key: value for key, value in given.items() if key != "preset"}
    base: dict[str, Any] = {}
    if (preset := given.get("preset")) is not None:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise UsageError(f"model.preset: {preset!r} is unknown; choose from {', '.join(PRESETS)}")
        base = dataclasses.asdict(PRESETS[preset])
    elif start := _start(raw):
        from pipeline.checkpoint.weights import (
            read_model_config,  # with torch, which few configurations need to be read
        )

        base = dataclasses.asdict(read_model_config(start))
    if sources is not None:
        base["vocab_size"] = sources.vocab_size
    raw["model"] = {**base, **fields}


def _start(raw: dict[str, Any]) -> Path | None:
    """Where the model comes from when `run.init_from` says so: the run itself, once it has begun."""
    run = raw.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("init_from"), str):
        return None
    begun = Path(str(run.get("dir", "")))
    return begun if (begun / "config.yaml").exists() else Path(run["init_from"])


def _refusal(path: Path, found: list[str]) -> UsageError:
    if len(found) == 1:
        return UsageError(f"{path}: {found[0]}")
    return UsageError(f"{path}: {len(found)} mistakes\n" + "\n".join(f"  {line}" for line in found))
