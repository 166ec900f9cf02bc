"""lm-eval's task files: those that it ships, by path or name, and those of the user.

A task file may name Python functions (`!function`). Those that lm-eval ships are part of the installed
package. The user's are loaded only if the user trusts the file: else a file with functions is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UsageError
from pipeline.eval.lm_eval_metrics import as_sums, register
from pipeline.eval.tasks import ProtocolFile, TaskFile

PREFIX = "lm-eval:"
"""How a protocol names lm-eval as its engine; the path of a task file follows."""

_DECIDED_HERE = (
    *("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset", "num_fewshot"),
    *("training_split", "validation_split", "test_split", "fewshot_split"),
    *("tag", "group", "task_list", "task_alias"),
)
"""Fields of a task file about its rows, its shots and its place in lm-eval's index, which we decide."""


def folder() -> Path:
    """The directory of lm-eval's task files. Raises UsageError when lm-eval is not installed."""
    found = find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise UsageError('this task needs lm-eval, which is not installed: pip install "outbound-gpt[eval]"')
    return Path(found.submodule_search_locations[0]) / "tasks"


def load(file: str, *, trust: bool = False) -> dict[str, Any]:
    """Read a task file with its functions, without the fields that are decided here.

    file: a path in `folder()`, or an absolute path to one of the user's.
    """
    config = {key: value for key, value in _whole(file, trust).items() if key not in _DECIDED_HERE}
    if isinstance(shots := config.get("fewshot_config"), dict):
        config["fewshot_config"] = {key: value for key, value in shots.items() if key != "split"}
    if "class" in config:
        raise UsageError(
            f"{file}: its task is a Python class, which loads its own data: it cannot be asked here"
        )
    _refuse_foreign_metrics(file, config)
    _measures(config)  # also for a process that only computes results
    return config


def shipped_task(name: str) -> TaskFile:
    """The task that lm-eval ships under a name, over the rows of `NAME.jsonl` in lm-eval's own fields.

    Raises UsageError where it ships none.
    """
    root = folder()
    named = re.compile(rb"^task:\s*[\"']?" + re.escape(name.encode()) + rb"[\"']?\s*(#.*)?$", re.MULTILINE)
    for path in sorted(root.rglob("*.yaml"), key=lambda path: (path.stem != name, path.as_posix())):
        if named.search(path.read_bytes()):
            return _task(path.relative_to(root).as_posix(), trust=False)
    raise UsageError(f"{name}: neither outbound nor the installed lm-eval has a task of this name")


def load_user_task(path: Path, *, trust: bool) -> TaskFile:
    """The user's own task in lm-eval's format, over the rows of `NAME.jsonl` in its fields.

    Its `dataset_kwargs: {data_files: ...}` may name the files of its splits otherwise.
    """
    return _task(str(path.resolve()), trust=trust)


def _task(file: str, trust: bool) -> TaskFile:
    whole, config = _whole(file, trust), load(file, trust=trust)
    name = config.get("task")
    if not isinstance(name, str):
        raise UsageError(f"{file}: names no task; for a group, give the names of its tasks")
    measures = _measures(config)
    if not measures:
        raise UsageError(f"{file}: none of its metrics is a mean over documents: it cannot be asked here")
    files = _data_files(whole) if Path(file).is_absolute() else {}
    test = whole.get("test_split") or whole.get("validation_split") or "test"
    train = whole.get("training_split") or "train"
    return TaskFile(
        name=name,
        title=f"{name}, a task file of lm-eval",
        family="lm-eval",
        suites=[],
        source=f"{whole.get('dataset_path')}, in the fields of {file}",
        reader="rows.own_fields",
        files={
            "test": files.get(test, [f"{name}.jsonl"]),
            "train": files.get(train, [f"{name}_train.jsonl"]),
        },
        few=whole.get("num_fewshot") or 5,
        shots=[whole.get("num_fewshot") or 0],
        protocols={
            "lm-eval": ProtocolFile(
                engine=PREFIX + file, measures=measures, settings={"trust": True} if trust else {}
            )
        },
    )


def _data_files(whole: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files of each split that a task file names in lm-eval's way."""
    given = (whole.get("dataset_kwargs") or {}).get("data_files") or {}
    given = {"test": given} if isinstance(given, str | list) else given
    return {split: [each] if isinstance(each, str) else list(each) for split, each in given.items()}


def _measures(config: Mapping[str, Any]) -> list[str]:
    """The measures of a task file by filter; a metric that is a mean of its own becomes a measure."""
    registry = _registry()
    listed = config.get("metric_list") or [
        {"metric": name}
        for name in registry.DEFAULT_METRIC_REGISTRY[config.get("output_type", "generate_until")]
    ]
    filters = [each["name"] for each in config.get("filter_list") or [{"name": ""}]]
    measures = []
    for each in listed:
        metric = getattr(each["metric"], "__name__", each["metric"])
        aggregation = each.get("aggregation") or registry.get_metric_aggregation(metric)
        if isinstance(aggregation, str):
            aggregation = registry.get_aggregation(aggregation)
        measure = as_sums(metric, getattr(aggregation, "__name__", ""))
        if measure is None:
            continue
        better = each.get("higher_is_better", registry.is_higher_better(metric)) is not False
        for number, filter_ in enumerate(filters):
            measures.append(measure if number == 0 else f"{measure},{filter_}")
            register(measures[-1], higher_is_better=better)
    return measures


def _registry() -> Any:
    """lm-eval's registry of metrics, which the import of its metrics fills."""
    import_module("lm_eval.api.metrics")
    return import_module("lm_eval.api.registry")


def _whole(file: str, trust: bool) -> dict[str, Any]:
    if Path(file).is_absolute():
        return _with_functions(Path(file)) if trust else _without_functions(Path(file), ())
    path = folder() / file
    if not path.is_file():
        raise UsageError(f"{path}: the installed lm-eval ships no such task file; 0.4.13 does")
    return _with_functions(path)


def _with_functions(path: Path) -> dict[str, Any]:
    """Read a file by lm-eval's private function, which is used nowhere else."""
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        return dict(load_yaml(path))
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{path}: lm-eval cannot load its functions ({error})") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: describes no task of lm-eval ({error})") from None


class _Loader(yaml.SafeLoader):
    """A loader of YAML without functions."""


def _refuse(loader: _Loader, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(problem=f"{node.tag} runs Python", problem_mark=node.start_mark)


_Loader.add_constructor(None, _refuse)  # any tag that is not YAML's own


def _without_functions(path: Path, includers: tuple[Path, ...]) -> dict[str, Any]:
    """Read a stranger's file and those that it includes. Refuse whatever would run Python."""
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        if not isinstance(config, dict) or path in includers:
            raise ValueError("it includes itself" if path in includers else "it is no mapping of settings")
    except yaml.constructor.ConstructorError as error:
        raise UsageError(
            f"{path}: {error.problem}; read the file and its Python, and add --trust if it may run"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: describes no task of lm-eval ({error})") from None
    for key in ("class", "custom_dataset", "use_prompt", "unsafe_code"):
        if key in config:
            raise UsageError(f"{path}: {key} runs Python; read the file, and add --trust if it may run")
    included = config.pop("include", [])
    merged: dict[str, Any] = {}
    for each in included if isinstance(included, list) else [included]:
        merged |= _without_functions((path.parent / str(each)).resolve(), (*includers, path))
    return merged | config


def _refuse_foreign_metrics(file: str, config: Mapping[str, Any]) -> None:
    """Refuse metrics that lm-eval would fetch through `evaluate`, which downloads a program."""
    registry = _registry()
    for each in config.get("metric_list") or []:
        metric = each["metric"]
        known = callable(metric) or config.get("process_results") or metric in registry.metric_registry
        if each.get("hf_evaluate") or not known:
            raise UsageError(
                f"{file}: its metric {metric!r} would be downloaded as a program: it cannot be asked here"
            )
