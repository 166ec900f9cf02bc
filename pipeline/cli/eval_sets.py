"""The sets that `outbound eval` finds: listed, or written for the overlap with a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.app import emit

if TYPE_CHECKING:
    from pipeline.eval.choose import Choice, Wanted
    from pipeline.eval.tasks import TaskFile


def list_sets(wanted: Wanted, known: Mapping[str, TaskFile], data: Path, json: bool) -> None:
    """Print which files of each task are there, and what the missing ones must be called."""
    from pipeline.eval.choose import named
    from pipeline.eval.set_files import files_in, find

    listed, rows = files_in(data), list[dict[str, Any]]()
    for name in named(wanted.tasks, known):
        task, files = known[name], find(known[name], data, listed)
        rows.append(
            {
                "task": name,
                "title": task.title,
                "few": task.few,
                "proven": task.proven,
                "protocols": [*task.protocols],
                "found": [*dict.fromkeys(files.test + files.train)],
                "missing": [*files.missing_test],
                "missing_for_shots": [*files.missing_train],
                "source": task.source,
            }
        )
    rows.sort(key=lambda row: not row["missing"])  # a terminal shows the end of a long list
    there = sum(not row["missing"] for row in rows)
    text = [*map(_listed, rows), f"{there} of {len(rows)} tasks can be asked; they stand last"]
    emit({"tasks": rows}, json, "\n".join(text))


def _listed(row: dict[str, Any]) -> str:
    """A task for people: what it is, and its files by line."""
    few = f", few-shot K = {row['few']}" if row["few"] else ""
    reads = row["found"] or row["missing"]
    proven = ", not tested on a published file" if reads and not row["proven"] else ""
    lines = [f"{row['task']}: {row['title']} ({', '.join(row['protocols'])}{few}{proven})"]
    for name in ("found", "missing", "missing_for_shots"):
        if row[name]:
            lines.append(f"  {name.replace('_', ' ')}: {', '.join(row[name])}")
    return "\n".join(lines)


def write_examples_of(choice: Choice, data: Path, directory: Path, json: bool) -> None:
    """Write the examples of each set as JSON lines of id and text."""
    from pipeline.eval.written_examples import write_examples

    tasks = {asking.task.name: asking for asking in choice.askings if asking.test}
    counts = {name: write_examples(asking, data, choice.sets, directory) for name, asking in tasks.items()}
    lines = [f"{directory / name}.jsonl: {count:,} examples" for name, count in counts.items()]
    emit({"directory": str(directory), "examples": counts}, json, "\n".join(lines))
