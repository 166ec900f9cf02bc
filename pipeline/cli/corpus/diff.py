"""`outbound corpus diff`: what another selection changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, emit
from pipeline.cli.corpus.app import Directory, corpus, reading

if TYPE_CHECKING:
    from dataprep.audit.funnel import StageCount


@corpus.command()
def diff(
    directory: Directory,
    first: Annotated[
        str, typer.Argument(help="A build: the beginning of its name, current, or recipe: the recipe's own.")
    ] = "recipe",
    second: Annotated[str, typer.Argument(help="Another build.")] = "current",
    examples: Annotated[int, typer.Option(min=0, help="Documents to name for each change.")] = 3,
    json: Json = False,
) -> None:
    """Tell two builds apart: which documents have another verdict, and both funnels."""
    from dataprep.audit.diff import compare, named_build
    from dataprep.audit.funnel import decisions

    with reading(directory) as opened:
        builds = [named_build(opened, name) for name in (first, second)]
        found = compare(opened, builds[0], builds[1], examples)
        funnels = [decisions(build) for build in builds]
    names = [build.name for build in builds]
    lines = [f"{names[0]} -> {names[1]}: {found.same:,} documents have the same verdict"]
    for (before, after), number in found.changes:
        lines.append(f"{number:>9,}  {before} -> {after}")
        for example in found.examples.get((before, after), []):
            decided = " -> ".join("-" if number is None else f"{number:.4g}" for number in example["numbers"])
            lines.append(f"{'':>11}{example['doc_id']}  {decided}  {example['url']}")
    lines += ["", *beside(names, funnels)]
    result = {
        "builds": names,
        "same": found.same,
        "changes": [
            {
                "from": change[0],
                "to": change[1],
                "documents": number,
                "examples": found.examples.get(change, []),
            }
            for change, number in found.changes
        ],
        "funnels": [[vars(count) for count in funnel] for funnel in funnels],
    }
    emit(result, json, "\n".join(lines))


def beside(names: list[str], funnels: list[list[StageCount]]) -> list[str]:
    """Two funnels as the columns of a table."""
    rows: dict[tuple[str, str], list[int]] = {}
    for column, stages in enumerate(funnels):
        for stage in stages:
            for row, number in {"passed": stage.passed, **stage.reasons}.items():
                rows.setdefault((stage.stage, row), [0, 0])[column] = number
    order = list(dict.fromkeys(stage for stage, _ in rows))
    lines = [f"{'':>40}  {names[0]:>14}  {names[1]:>14}"]
    for (name, row), numbers in sorted(rows.items(), key=lambda item: order.index(item[0][0])):
        lines.append(f"{f'{name} {row}':>40}  {numbers[0]:>14,}  {numbers[1]:>14,}")
    return lines
