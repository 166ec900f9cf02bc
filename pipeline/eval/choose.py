"""Choose the tasks to ask by the options of the command line and the files that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataprep.store.files import hash_file
from pipeline.errors import UsageError
from pipeline.eval.evaluation import Asking
from pipeline.eval.lm_eval_files import shipped_task
from pipeline.eval.set_files import SetFiles, files_in, find
from pipeline.eval.sets.rows import labels_of
from pipeline.eval.tasks import TaskFile, shipped

ALL, FEW, PAPER, LM_EVAL = "all", "few", "paper", "lm-eval"
SUITES = ("gpt2", "gpt3")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user asks for.

    tasks: names, suites of papers, or `all`. shots: numbers or `few`; None means 0, or the first setting of a
    task without 0. protocols: names; `paper` means all but lm-eval; None means `paper`, or lm-eval for a task
    that has no other.
    """

    tasks: Sequence[str] = (ALL,)
    shots: Sequence[str] | None = None
    protocols: Sequence[str] | None = None


def known_tasks(words: Sequence[str], own: Mapping[str, TaskFile]) -> dict[str, TaskFile]:
    """The tasks that come with outbound, the user's own, and those of lm-eval that are named.

    Raises UsageError for an unknown name.
    """
    tasks = {**shipped(), **own}
    lacking = [word for word in words if word not in (ALL, *SUITES, *tasks)]
    return tasks | {word: shipped_task(word) for word in lacking}


@dataclass(frozen=True)
class Skipped:
    """A task that is left out. by_hand: whether it was named."""

    task: str
    why: str
    by_hand: bool


@dataclass(frozen=True)
class Choice:
    """askings: what is asked. skipped: what is left out. sets: hash of each file that is read."""

    askings: list[Asking] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    sets: dict[str, str] = field(default_factory=dict)


def choose(wanted: Wanted, tasks: Mapping[str, TaskFile], data: Path) -> Choice:
    """Choose among tasks by their files in a directory. Raises UsageError for shots that are no number."""
    listed, choice = files_in(data), Choice()
    used: dict[str, None] = {}
    for task, by_hand in named(wanted.tasks, tasks).items():
        files = find(tasks[task], data, listed)
        askings, why = _askings(tasks[task], files, wanted)
        choice.askings.extend(askings)
        choice.skipped.extend(Skipped(task, reason, by_hand) for reason in why)
        for asking in askings:
            used |= dict.fromkeys([*asking.test, *(asking.train if asking.shots else ())])
    labels = {labels_of(Path(path)).as_posix() for path in used}  # a reader takes them from there
    choice.sets.update(
        {path: hash_file(data / path) for path in sorted({*used, *labels.intersection(listed)})}
    )
    return choice


def named(words: Sequence[str], tasks: Mapping[str, TaskFile]) -> dict[str, bool]:
    """The tasks that the words mean, in their order, and whether each was named by hand."""
    found: dict[str, bool] = {}
    for word in words:
        if word == ALL or word in SUITES:
            for name, task in tasks.items():
                if word == ALL or word in task.suites:
                    found.setdefault(name, False)
        else:
            found[word] = True
    return found


def _askings(task: TaskFile, files: SetFiles, wanted: Wanted) -> tuple[list[Asking], list[str]]:
    """The askings of a task, and the reasons why others that are wanted are left out."""
    if files.missing_test:
        return [], [f"{', '.join(files.missing_test)} not found ({task.source})"]
    words = wanted.protocols or ((LM_EVAL,) if [*task.protocols] == [LM_EVAL] else (PAPER,))
    protocols = [name for name in task.protocols if _is_wanted(name, words)]
    if not protocols:
        return [], [f"has no protocol {', '.join(words)}, only {', '.join(task.protocols)}"]
    askings, why = list[Asking](), dict[str, None]()
    for name in protocols:
        for shots in _shots(task, name, wanted.shots):
            if shots and (reason := _no_shots(task, name, shots, files)):
                why[f"{shots} shots: {reason}"] = None
                continue
            askings.append(Asking(task=task, protocol=name, shots=shots, test=files.test, train=files.train))
    return askings, [*why]


def _no_shots(task: TaskFile, protocol: str, shots: int, files: SetFiles) -> str:
    """The reason why solved examples cannot be shown; "" when they can."""
    own = task.protocols[protocol].shots
    if own is not None and shots not in _numbers(task, own):
        return f"the protocol {protocol} has none"
    if files.missing_train:
        return f"{', '.join(files.missing_train)} not found ({task.source})"
    known = protocol == LM_EVAL or files.train or shots in _numbers(task, _own_shots(task, protocol))
    return "" if known else "there is no set to draw them from"


def _is_wanted(protocol: str, words: Sequence[str]) -> bool:
    return any(word in (ALL, protocol) or (word == PAPER and protocol != LM_EVAL) for word in words)


def _shots(task: TaskFile, protocol: str, words: Sequence[str] | None) -> list[int]:
    """How many solved examples: what is wanted, each number once; `few` is the paper's number."""
    own = _own_shots(task, protocol)
    if words is None:
        return [0] if 0 in own or not own else _numbers(task, own[:1])
    for word in words:
        if word != FEW and not word.isdecimal():
            raise UsageError(f"--shots {word}: give numbers, or `few` for the number of the paper")
    return _numbers(task, [word if word == FEW else int(word) for word in words])


def _own_shots(task: TaskFile, protocol: str) -> Sequence[int | str]:
    own = task.protocols[protocol].shots
    return task.shots if own is None else own


def _numbers(task: TaskFile, shots: Sequence[int | str]) -> list[int]:
    numbers = (task.few if each == FEW else int(each) for each in shots if each != FEW or task.few)
    return [*dict.fromkeys(numbers)]
