"""From YAML and overrides to a resolved configuration: data pinned, the model's absent fields filled in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dataprep import yaml_settings
from dataprep.store import files
from model import PRESETS
from pipeline.checkpoint import attempts
from pipeline.checkpoint.described import read_model_config
from pipeline.config.sections import Data, Run, RunConfig
from pipeline.config.validate import check_config, check_data, check_init_from
from pipeline.data.sources import Sources
from pipeline.errors import UsageError

SECTIONS = "sections (run, data, model, ...)"
EXAMPLE = "optimizer.lr=1e-4"


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
        raise yaml_settings.refusal(str(path), found)
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
        raise yaml_settings.refusal(str(path), found)
    return config


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration; `load_config` reads the same back."""
    files.replace(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


def _overridden(path: Path, overrides: list[str]) -> dict[str, Any]:
    raw = yaml_settings.read(path, SECTIONS)
    for override in overrides:
        yaml_settings.override(raw, override, EXAMPLE)
    return raw


def _validated(raw: dict[str, Any], path: Path) -> RunConfig:
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        found = yaml_settings.mistakes(RunConfig, error, aliases=["model.preset"])
        raise yaml_settings.refusal(str(path), found) from None


def _pin(raw: dict[str, Any]) -> Sources | None:
    """Choose the generations, as the run did when it began; None when the data section is too broken."""
    try:
        data = Data.model_validate(raw["data"])
        begun = _begun(Run.model_validate(raw["run"]).dir)
    except (ValidationError, KeyError):
        return None
    wanted = {
        name: (tokens, generation or begun.get(name), weight)
        for name, (tokens, generation, weight) in data.sources().items()
    }
    sources = Sources.load(wanted, data.stream)
    for override in pinning(sources):
        yaml_settings.override(raw, override, EXAMPLE)
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


def _begun(run: Path) -> dict[str, int | None]:
    """The generations in a run's own config.yaml, by source; of none, if the run has not begun."""
    resolved = attempts.latest_file(run, "config.yaml")
    if resolved is None:
        return {}
    sources = Data.model_validate(yaml_settings.read(resolved, SECTIONS)["data"]).sources()
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
    return begun if attempts.latest(begun) else Path(run["init_from"])
