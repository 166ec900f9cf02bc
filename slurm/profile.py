"""A cluster profile: what one cluster asks of a job, in one YAML file.

Its keys are for every job. Under `parts`, keys for one kind of job count before them:

    time: "24:00:00"
    parts:
      fetch: {partition: dtn, time: "7-00:00:00"}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Word = Annotated[str, Field(pattern=r"^[\w.,:+-]+$")]
"""A value that stands on an #SBATCH line without quotes."""

TIME = re.compile(r"(?:(?P<d>\d+)-(?P<h1>\d+)(?::(?P<m1>\d+)(?::(?P<s1>\d+))?)?|(?P<hms>\d+(?::\d+){0,2}))")
LEAST_S = 180
"""A job must have so long before it is signalled; Slurm may do that 60 s early."""


class JobProfile(BaseModel):
    """What one kind of job asks for. Unknown keys are refused: a typing error must be no silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    time: str
    """Limit in Slurm's form ("30" minutes, "24:00:00", "2-12"); quote it, YAML reads 24:00:00 as a number."""
    partition: Word | None = None
    """Partition of the cluster."""
    account: Word | None = None
    """Account that pays."""
    cpus_per_task: int = Field(default=1, ge=1)
    """Cores of a process that trains, or of a worker, which starts one process on each."""
    mem: Annotated[str, Field(pattern=r"^\d+[KMGT]?$")] | None = None
    """Memory a node, such as "480G"; "0" is all of it."""
    grace_s: int = Field(default=300, ge=60, le=65535)
    """Seconds before the limit at which the work is signalled to save and stop. Slurm may be 60 s early."""
    options: tuple[str, ...] = ()
    """Further sbatch options, such as "--qos=high" or "--constraint=a100"."""
    setup: tuple[str, ...] = ()
    """Shell lines run before the job's command, such as "module load cuda/12.4" or ". .venv/bin/activate"."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = {}
    """Environment variables of every process."""

    @field_validator("time", mode="before")
    @classmethod
    def _time_was_quoted(cls, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError('put it in quotes, as in "24:00:00": YAML reads it as a number otherwise')
        if seconds(value) is None:
            raise ValueError('write it as Slurm does: "30" (minutes), "24:00:00" or "2-12:00:00"')
        return value

    @field_validator("options")
    @classmethod
    def _options_are_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for option in options:
            if not option.startswith("-") or "\n" in option:
                raise ValueError(f"{option!r} is no sbatch option: write it as in '--qos=high'")
        return options

    @model_validator(mode="after")
    def _has_time_to_work(self) -> Self:
        limit_s = seconds(self.time)
        if limit_s is not None and limit_s < self.grace_s + LEAST_S:
            raise ValueError(
                f"grace_s: {self.grace_s} s leave no time to work before the limit of {limit_s} s: lower it, "
                f"or raise time to {self.grace_s + LEAST_S} s or more"
            )
        return self


class GPUProfile(JobProfile):
    """What a job asks for that may use GPUs."""

    gpus_by: Literal["gres", "gpus-per-node", "gpus-per-task"] = "gres"
    """The sbatch option by which the cluster gives GPUs out. With `gpus-per-task` each process of training
    sees its own device only."""


class TrainProfile(GPUProfile):
    """What training asks for."""

    nodes: int = Field(ge=1)
    """Machines."""
    gpus_per_node: int = Field(ge=0)
    """GPUs on each; one process is started for each. 0: the cluster trains on CPUs."""
    tasks_per_node: int | None = Field(default=None, ge=1)
    """Processes a node; needed, and allowed, only without GPUs."""

    @property
    def tasks(self) -> int:
        """Processes a node: one a GPU."""
        return self.tasks_per_node or self.gpus_per_node

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.gpus_per_node and self.tasks_per_node:
            raise ValueError("tasks_per_node: leave it out, one process is started for each GPU")
        if not self.tasks:
            raise ValueError("tasks_per_node: give the processes a node, since gpus_per_node is 0")
        return self


class EvalProfile(GPUProfile):
    """What evaluation asks for."""

    gpus: int = Field(default=0, ge=0)
    """GPUs of a worker, which starts one process for each. 0: one on each of its cores."""


PARTS: dict[str, type[JobProfile]] = {
    "train": TrainProfile,
    "eval": EvalProfile,
    "links": JobProfile,
    "fetch": JobProfile,
    "cpu": JobProfile,
}
"""Kinds of jobs, and what each asks for: training; evaluation; dumps; the crawl, which needs the web; all
else."""
_USES: dict[type[JobProfile], str] = {TrainProfile: "training", EvalProfile: "evaluation"}
ONLY = {
    key: " and ".join(use for kind, use in _USES.items() if key in kind.model_fields)
    for key in dict.fromkeys(key for kind in _USES for key in kind.model_fields)
    if key not in JobProfile.model_fields
}
"""Keys of some kinds of jobs, with what these do."""

P = TypeVar("P", bound=JobProfile)


class ProfileError(ValueError):
    """A profile's mistakes; the text names the file, each key, its value and what was expected."""

    def __init__(self, path: Path, mistakes: Sequence[str]) -> None:
        super().__init__(f"{path}: " + "; ".join(mistakes))


def load(path: Path, part: str) -> JobProfile:
    """Read what a kind of job, one of PARTS, asks for. Raises ProfileError with every mistake of the file."""
    return _load(path, part, PARTS[part])


def load_train(path: Path) -> TrainProfile:
    """Read what training asks for; raises ProfileError as `load`."""
    return _load(path, "train", TrainProfile)


def processes(path: Path) -> int | None:
    """How many processes training starts, whatever is wrong with other keys; None when that is not known."""
    try:
        document, parts = _read(path)
        asked = _merged(document, parts.get("train", {}), TrainProfile)
        sizes = {key: asked[key] for key in ("nodes", "gpus_per_node", "tasks_per_node") if key in asked}
        profile = TrainProfile(time="1-00:00:00", **sizes)
    except ValueError:
        return None
    return profile.nodes * profile.tasks


def _load(path: Path, part: str, kind: type[P]) -> P:
    document, parts = _read(path)
    complaints = [
        f"parts.{name} is no kind of job (they are {', '.join(PARTS)})" for name in parts if name not in PARTS
    ]
    for name in [part, *(name for name in PARTS if name in parts and name != part)]:  # in other parts, too
        own = parts.get(name, {})
        try:
            PARTS[name].model_validate(_merged(document, own, PARTS[name]))
        except ValidationError as error:
            complaints += [_complaint(found, name, own) for found in error.errors()]
    if complaints:
        raise ProfileError(path, list(dict.fromkeys(complaints)))
    return kind.model_validate(_merged(document, parts.get(part, {}), kind))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A profile's own keys, and those of its parts."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProfileError(path, [f"not YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(document, dict):
        raise ProfileError(path, ["expected keys like 'nodes: 4', as in configs/clusters/example.yaml"])
    parts = document.pop("parts", {})
    if not isinstance(parts, dict) or not all(isinstance(keys, dict) for keys in parts.values()):
        raise ProfileError(path, [f"parts is {parts!r}: write keys below a part, as in 'fetch: {{mem: 8G}}'"])
    return document, parts


def _merged(document: dict[str, Any], own: dict[str, Any], kind: type[JobProfile]) -> dict[str, Any]:
    """The profile's keys and a part's own, which count before them; environment variables add up."""
    foreign = ONLY.keys() - kind.model_fields.keys()
    shared = {key: value for key, value in document.items() if key not in foreign}
    merged = {**shared, **own}
    if isinstance(shared.get("env"), dict) and isinstance(own.get("env"), dict):
        merged["env"] = {**shared["env"], **own["env"]}
    return merged


def seconds(limit: str) -> int | None:
    """Read a Slurm time limit; None when it has another form.

    >>> [seconds(limit) for limit in ("30", "30:15", "24:00:00", "2-12", "1-00:30", "soon")]
    [1800, 1815, 86400, 216000, 88200, None]
    """
    match = TIME.fullmatch(limit)
    if not match:
        return None
    if match["hms"]:
        parts = [int(part) for part in match["hms"].split(":")]
        # One number is minutes, two are minutes and seconds, three begin with hours.
        hours, minutes, secs = parts if len(parts) == 3 else (0, *parts, *[0] * (2 - len(parts)))
        days = 0
    else:
        days, hours, minutes, secs = (int(match[name] or 0) for name in ("d", "h1", "m1", "s1"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + secs


def _complaint(error: Any, part: str, own: dict[str, Any]) -> str:
    """One of pydantic's errors in one line."""
    key = ".".join(str(name) for name in error["loc"])
    if error["loc"] and error["loc"][0] in own:
        key = f"parts.{part}.{key}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden" and error["loc"][0] in ONLY:
        use = ONLY[str(error["loc"][0])]
        return f"{key} is a key of {use} only: each job of this kind is on one node; remove it here"
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][0])
        known = [*dict.fromkeys([*TrainProfile.model_fields, *ONLY]), *([] if name in own else ["parts"])]
        near = get_close_matches(name, known, n=1)
        remedy = f": write {near[0]}, or remove it" if near else f" (they are {', '.join(known)})"
        return f"{key} is no key of a cluster profile{remedy}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key} is {error['input']!r}: {message}" if key else message
