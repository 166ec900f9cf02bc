"""From YAML and overrides to a resolved configuration: data pinned, the model's absent fields filled in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from dataprep import yaml_settings
from dataprep.store import files
from model import PRESETS
from pipeline.checkpoint import attempts
from pipeline.checkpoint.described import read_model_config
from pipeline.config.examined import Examined
from pipeline.config.sections import Data, Run, RunConfig
from pipeline.config.validate import CHECKS, check_data, check_init_from
from pipeline.data.sources import Sources

SECTIONS = "sections (run, data, model, ...)"
EXAMPLE = "optimizer.lr=1e-4"
ALIASES = ["model.preset"]
"""Keys that are read before the model of a run's settings is made of the others."""
STAND_IN = PRESETS["gpt2-small"]
"""Model in whose place an unknown one is checked, so that its other fields are."""


def load_config(path: Path, overrides: list[str]) -> tuple[RunConfig, Sources]:
    """Read a YAML file, apply `a.b=c` overrides, and resolve what depends on the data.

    Raises UsageError that lists every mistake with its path, RunError when the tokens cannot be read.
    """
    found = examine(path, overrides)
    found.refuse()
    assert found.sources is not None  # else their absence was refused
    return found.config, found.sources


def load_ahead(path: Path, overrides: list[str]) -> RunConfig:
    """Read a configuration whose tokens need not be packed yet, for planning.

    Without them the vocabulary is the preset's, or `model.vocab_size`.

    Raises UsageError that lists every mistake with its path, RunError when tokens that are there are damaged.
    """
    found = examine(path, overrides, ahead=True)
    found.refuse()
    return found.config


def examine(path: Path, overrides: list[str], ahead: bool = False) -> Examined:
    """Read a configuration and gather every mistake in it.

    ahead: the tokens need not be packed yet. Raises UsageError when the file cannot be read at all.
    """
    raw = yaml_settings.read(path, SECTIONS)
    found = Examined(path=path, overrides=overrides, config=RunConfig.model_construct())
    for override in overrides:
        with found.gather():
            yaml_settings.override(raw, override, EXAMPLE)
    found.add(yaml_settings.take_unknown_keys(RunConfig, raw, ALIASES))
    if not ahead or _packed(raw):
        with found.gather("data"):
            found.sources = _pin(raw)
    model_is_known = _complete_model(raw, found)
    if ahead and isinstance(raw.get("model"), dict) and "vocab_size" not in raw["model"]:
        found.add(
            [
                "model.vocab_size: unknown, since the tokens are not packed yet: "
                "give it, as in model.vocab_size=50257"
            ]
        )
    if found.sources is None and isinstance(raw.get("model"), dict):
        raw["model"].setdefault(
            "vocab_size", STAND_IN.vocab_size
        )  # so that this is the only mistake about it
    _validate(raw, found)
    if not model_is_known:
        found.sound -= {"model"}
    for sections, check in CHECKS:
        found.check(sections, check)
    if (sources := found.sources) is not None:
        found.check("model train data", lambda config: check_data(config, sources))
        with found.gather("run.init_from"):
            found.check("run model data", lambda config: check_init_from(config, sources))
    return found


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration; `load_config` reads the same back."""
    files.replace(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


def _validate(raw: dict[str, Any], found: Examined) -> None:
    """Make the sections that are right, and note what is wrong with the others."""
    fields = RunConfig.model_fields
    broken = set()
    try:
        RunConfig.model_validate(raw)
    except ValidationError as error:
        found.add(yaml_settings.mistakes(RunConfig, error, ALIASES))
        broken = {item["loc"][0] for item in error.errors()}
    found.sound = frozenset(fields.keys() - broken)
    sections = {
        name: TypeAdapter[Any](cast("Any", fields[name].annotation)).validate_python(raw[name])
        for name in found.sound & raw.keys()
    }
    found.config = RunConfig.model_construct(**sections)


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


def _complete_model(raw: dict[str, Any], found: Examined) -> bool:
    """Fill the model's absent fields, in place: ids from the tokenizer, then those of the preset or start.

    Returns False when those are unknown, which is noted; another model then stands in.
    """
    start = None
    with found.gather("run.dir"):
        start = _start(raw)
    given = raw.setdefault("model", {}) if start else raw.get("model")
    if not isinstance(given, dict):
        return True
    fields = {key: value for key, value in given.items() if key != "preset"}
    base: dict[str, Any] = {}
    before = len(found.errors)
    if (preset := given.get("preset")) is not None:
        if not isinstance(preset, str) or preset not in PRESETS:
            found.add([f"model.preset: {preset!r} is unknown; choose from {', '.join(PRESETS)}"])
        else:
            base = dataclasses.asdict(PRESETS[preset])
    elif start:
        with found.gather("run.init_from"):
            base = dataclasses.asdict(read_model_config(start))
    is_known = len(found.errors) == before
    if found.sources is not None:
        base["vocab_size"] = found.sources.vocab_size
    raw["model"] = {**({} if is_known else dataclasses.asdict(STAND_IN)), **base, **fields}
    return is_known


def _start(raw: dict[str, Any]) -> Path | None:
    """Where the model comes from when `run.init_from` says so: the run itself, once it has begun."""
    run = raw.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("init_from"), str):
        return None
    begun = Path(str(run.get("dir", "")))
    return begun if attempts.latest(begun) else Path(run["init_from"])
