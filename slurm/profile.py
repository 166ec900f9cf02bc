"""A cluster profile: what one cluster asks of a job, in one YAML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Word = Annotated[str, Field(pattern=r"^[\w.,:+-]+$")]
"""A value that stands on an #SBATCH line without quotes."""

TIME = re.compile(r"(?:(?P<d>\d+)-(?P<h1>\d+)(?::(?P<m1>\d+)(?::(?P<s1>\d+))?)?|(?P<hms>\d+(?::\d+){0,2}))")


class ClusterProfile(BaseModel):
    """What a job asks for; unknown keys are refused, so that a typing error is no silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    nodes: int = Field(ge=1)
    """Machines."""
    gpus_per_node: int = Field(ge=0)
    """GPUs on each; one process is started for each. 0: the cluster trains on CPUs."""
    tasks_per_node: int | None = Field(default=None, ge=1)
    """Processes a node; needed, and allowed, only without GPUs."""
    time: str
    """Limit in Slurm's form ("30" minutes, "24:00:00", "2-12"); quote it, YAML reads 24:00:00 as a number."""
    partition: Word | None = None
    account: Word | None = None
    cpus_per_task: int = Field(default=1, ge=1)
    mem: Annotated[str, Field(pattern=r"^\d+[KMGT]?$")] | None = None
    """Memory a node, such as "480G"; "0" is all of it."""
    grace_s: int = Field(default=300, ge=60, le=65535)
    """Seconds before the limit at which training is signalled to save and stop. Slurm may be 60 s early."""
    options: tuple[str, ...] = ()
    """Further sbatch options, such as "--qos=high" or "--constraint=a100"."""
    setup: tuple[str, ...] = ()
    """Shell lines run before the job's command, such as "module load cuda/12.4" or ". .venv/bin/activate"."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = {}
    """Environment variables of every process."""

    @property
    def tasks(self) -> int:
        """Processes a node: one a GPU."""
        return self.tasks_per_node or self.gpus_per_node

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
    def _fits_together(self) -> ClusterProfile:
        if self.gpus_per_node and self.tasks_per_node:
            raise ValueError("tasks_per_node: leave it out, one process is started for each GPU")
        if not self.tasks:
            raise ValueError("tasks_per_node: give the processes a node, since gpus_per_node is 0")
        limit_s = seconds(self.time)
        if limit_s is not None and limit_s <= self.grace_s:
            raise ValueError(
                f"grace_s: {self.grace_s} s leave no time to train before the limit of {limit_s} s: "
                "lower it, or raise time"
            )
        return self


def load(path: Path) -> ClusterProfile:
    """Read a profile; ValueError names the file, the key, its value and what was expected."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected keys like 'nodes: 4', as in configs/clusters/example.yaml")
    try:
        return ClusterProfile.model_validate(document)
    except ValidationError as error:
        raise ValueError(f"{path}: " + "; ".join(_complaint(e) for e in error.errors())) from None


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


def _complaint(error: Any) -> str:
    """One of pydantic's errors in one line."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        known = ", ".join(ClusterProfile.model_fields)
        return f"{key} is no key of a cluster profile (they are {known})"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key} is {error['input']!r}: {message}" if key else message
