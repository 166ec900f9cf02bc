"""The files in `configs/tasks/`: what a task is, who published it, and how each protocol asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.config.named import ROOT, title
from pipeline.errors import UsageError

FOLDER = ROOT / "tasks"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProtocolFile(_Strict):
    """How one protocol asks the task."""

    engine: str
    """`lm-eval:<its shipped file>`, or a module of `pipeline/eval/engines`."""
    measures: list[str]
    """Measures it reports; tables and pictures show the first. An empty list: its texts are shown."""
    settings: dict[str, Any] = {}
    """Settings of the engine: prompts, rules. Its docstring names them."""
    shots: list[int | Literal["few"]] | None = None
    """The settings that this protocol has, where it has not all; others are refused. None: as the task's."""


class TaskFile(_Strict):
    """One task. The comment that begins its file is its title and says where the set comes from."""

    name: str
    title: str
    family: str
    """Group in the papers' tables: language modelling, cloze, completion, commonsense, ..."""
    suites: list[Literal["gpt2", "gpt3"]]
    """Papers that report it."""
    source: str
    """Where the published files come from, and what describes their format."""
    reader: str = ""
    """`module.function` of `pipeline/eval/sets`; "" where there are no `files`."""
    files: dict[Literal["test", "train"], list[str]] = {}
    """Patterns (glob) of the published files in the directory of sets, each also with `.gz`. All of them are
    needed; `A|B` stands for the first of several names that is there. `test`: the questions. `train`: the
    examples that shots are drawn from. Without files, the protocol's settings are the set."""
    few: int = 0
    """K of the paper's few-shot row."""
    shots: list[int | Literal["few"]] = [0, 1, "few"]
    """Settings that the paper reports."""
    proven: bool = False
    """Whether a test has read a real published file."""
    protocols: dict[str, ProtocolFile]
    """By name: `paper`, or `gpt2` and `gpt3` where both papers report the task; `lm-eval`; and variants of a
    paper's way, such as `no-instruction`."""


def shipped() -> dict[str, TaskFile]:
    """All tasks that come with outbound, by name."""
    return {path.stem: load(path) for path in sorted(FOLDER.glob("*.yaml"))}


def load(path: Path) -> TaskFile:
    """Read the file of a task. Raises UsageError that names file and field."""
    try:
        content = path.read_text(encoding="utf-8")
        task = TaskFile(title=title(content), **yaml.safe_load(content))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise UsageError(f"{path}: {wrong}") from None
    except (yaml.YAMLError, TypeError) as error:
        raise UsageError(f"{path}: describes no task ({error})") from None
    if task.name != path.stem:
        raise UsageError(f"{path}: names the task {task.name!r}: let name and file agree")
    return task
