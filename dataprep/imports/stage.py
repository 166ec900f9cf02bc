"""`corpus import`: files of other kinds become an increment like any other.

WARC files give links, fetches and pages, which are extracted as a crawl's are. The index of an archive (CDX)
gives the pages of links that an increment has already. Files that hold texts give documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dataprep.corpus.directory import Corpus, Increment, name_after
from dataprep.crawl import rounds
from dataprep.errors import DataError, UsageError
from dataprep.extract import stage as extract
from dataprep.imports import byte_ranges, cdx, first_captures, jsonl, parquet, text, warc, wet
from dataprep.imports.byte_ranges import Archive
from dataprep.imports.inputs import Import, Input, agree, expand, hash_input, kind_of, packs
from dataprep.imports.rows import Fields, Reader, ReadTask, run_task
from dataprep.links import stage as links
from dataprep.store import locks
from dataprep.store.file_damage import InputNotes
from dataprep.store.pool import Progress, run_all
from dataprep.store.records import finish_led, origin, step_path

READERS: dict[str, Reader] = {
    "text": text.read,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "wet": wet.read,
}
"""How the kinds whose rows are documents are read."""
KINDS = ("warc", "cdx", *READERS)


def refuse_unknown(kind: str) -> None:
    """Raise UsageError for a kind of files that cannot be imported."""
    if kind not in KINDS:
        raise UsageError(f"--kind {kind}: is no kind of files; give one of {', '.join(KINDS)}")


def increment_name(corpus: Corpus, kind: str, files: Sequence[Path]) -> str:
    """What an import is called unless the user says otherwise.

    An index fills the links of the increment that is open; other kinds are called after their first file.
    """
    waiting = [increment.name for increment in corpus.increments() if not increment.closed]
    return waiting[0] if kind == "cdx" and waiting else name_after(files[0].resolve().name, kind)


def run(
    corpus: Corpus,
    name: str,
    *,
    kind: str,
    paths: list[Path],
    fields: Fields,
    archive: Archive | None,
    workers: int,
    progress: Progress,
) -> Increment:
    """Import files as an increment, up to its documents or pages, or go on where an earlier call stopped.

    archive: where the files of an index are, for `cdx`.

    Raises DataError for files that cannot be read at all or differ from those of an earlier call, and when
    nothing in them is of use: then nothing of the increment stays, but for links that came from dumps. So it
    does while another command is at this increment.
    """
    inputs = expand(paths, kind)
    tasks = _tasks(kind, inputs, fields, corpus.recipe.collect.partition_mb * 1e6)
    with progress("hash", len(inputs), "files") as tick:
        digests = run_all(hash_input, [(input_file.path,) for input_file in inputs], workers, tick)
    hashes = {input_file.name: digest for input_file, digest in zip(inputs, digests, strict=True)}
    increment = _with_links(corpus, name) if kind == "cdx" else _of_its_own(corpus, name)
    agree(increment, Import(kind=kind, options=_options(kind, fields), files=hashes))
    with locks.alone(increment.path):
        try:
            if kind == "warc":
                _warc(
                    corpus,
                    increment,
                    inputs,
                    hashes,
                    undated=fields.undated,
                    workers=workers,
                    progress=progress,
                )
            elif kind == "cdx":
                if archive is None:
                    raise DataError(
                        f"{corpus.root}: where are the files that the index names? --base says it"
                    )
                _cdx(corpus, increment, inputs, hashes, archive, workers=workers, progress=progress)
            else:
                if not step_path(increment.path, links.STEP).exists():
                    links.finish(corpus, increment, {})
                parts = [(corpus, increment, task, READERS[kind], fields, hashes) for task in tasks]
                with progress("read", None, "rows") as tick:
                    run_all(run_task, parts, workers, tick)
                finish_led(increment.path, extract.STEP, hashes)
            _refuse_nothing(corpus, increment)
        except DataError:
            steps = (warc.WORK, links.STEP, rounds.STEP, extract.STEP)
            found = (part.passed for step in steps for part in increment.records(step))
            if kind != "cdx" and not increment.closed and not any(found):
                corpus.drop(increment.name)  # so that what is right can be imported at once
            raise
    return increment


def _options(kind: str, fields: Fields) -> dict[str, str]:
    """What the user chose, beside files, that decides the documents of an import."""
    columns = {name: str(value) for name, value in asdict(fields).items() if name != "undated"}
    dated = {"--date": str(fields.undated)} if fields.undated else {}
    return (columns if kind in ("jsonl", "parquet") else {}) | dated


def _tasks(kind: str, inputs: list[Input], fields: Fields, limit: float) -> list[ReadTask]:
    if kind == "parquet":
        return list(parquet.tasks(inputs, fields, limit))
    return [ReadTask(number, pack) for number, pack in enumerate(packs(inputs, limit))]


def _warc(
    corpus: Corpus,
    increment: Increment,
    inputs: list[Input],
    hashes: dict[str, str],
    *,
    undated: int,
    workers: int,
    progress: Progress,
) -> None:
    if not step_path(increment.path, links.STEP).exists():
        place = {input_file.name: number for number, input_file in enumerate(inputs)}
        parts = [
            (corpus, increment, number, [(place[each.name], each) for each in pack], hashes, undated)
            for number, pack in enumerate(packs(inputs, corpus.recipe.collect.partition_mb * 1e6))
        ]
        with progress("scan", None, "captures") as tick:
            run_all(warc.scan, parts, workers, tick)
        first_captures.enter(corpus, increment)
    first_captures.tidy(increment)


def _of_its_own(corpus: Corpus, name: str) -> Increment:
    increment = corpus.increment(name)
    begun = (path for path in increment.path.iterdir() if not path.name.startswith("."))  # but by a kill
    if kind_of(increment) in ("", "cdx") and any(begun):
        raise DataError(f"{increment.path}: was made from dumps; choose another --name")
    return increment


def _with_links(corpus: Corpus, name: str) -> Increment:
    """The increment of that name; raises DataError unless its links are done and not crawled."""
    increment = next((increment for increment in corpus.increments() if increment.name == name), None)
    if (
        increment is None
        or kind_of(increment) not in ("", "cdx")
        or not step_path(increment.path, links.STEP).exists()
    ):
        raise DataError(
            f"{corpus.root}: has no links under the name {name!r}; make them with "
            "`outbound corpus add --until links`"
        )
    if kind_of(increment) == "" and increment.parts(rounds.STEP):
        raise DataError(
            f"{increment.path}: its links are crawled already; to take them from an archive, begin "
            f"anew after `outbound corpus drop {corpus.root} {name}`"
        )
    return increment


def refuse_dumps(increment: Increment) -> None:
    """Raise DataError when `corpus add` cannot go on with an increment, because it is an import."""
    kind = kind_of(increment)
    if kind not in ("", "cdx"):
        raise DataError(f"{increment.path}: was imported from {kind} files; choose another --name")
    if kind and not _filled(increment):
        raise DataError(
            f"{increment.path}: is being filled from an archive; run `outbound corpus import` to its end "
            "first"
        )


def _filled(increment: Increment) -> bool:
    """Whether every link was looked for in the archive."""
    looked = sum(record.entered for record in increment.parts(rounds.STEP) if record.part.startswith("cdx-"))
    return looked == sum(part.passed for part in increment.parts(links.STEP))


def _cdx(
    corpus: Corpus,
    increment: Increment,
    inputs: list[Input],
    hashes: dict[str, str],
    archive: Archive,
    *,
    workers: int,
    progress: Progress,
) -> None:
    """Find the links in the index files, one a worker; then fetch their pages from the one archive."""
    if not _filled(increment):
        parts = [(corpus, increment, number, input_file, hashes) for number, input_file in enumerate(inputs)]
        with progress("search", None, "lines") as tick:
            run_all(cdx.search, parts, workers, tick)
        made_from = hashes | {links.STEP: origin(increment.path, links.STEP)}
        total = sum(part.passed for part in increment.parts(links.STEP))
        with progress("fetch", total, "links") as tick:
            for number, plan in enumerate(cdx.plan(corpus, increment)):
                notes = None if number else cdx.IndexNotes.of(increment)
                byte_ranges.fetch_part(
                    corpus, increment, number, plan, archive, inputs=made_from, notes=notes, tick=tick
                )
    first_captures.tidy(increment)


def _refuse_nothing(corpus: Corpus, increment: Increment) -> None:
    """Raise DataError when no row or capture was of use: the kind or a column's name is likely wrong."""
    step: str = {"warc": links.STEP, "cdx": rounds.STEP}.get(kind_of(increment), extract.STEP)
    parts = increment.parts(step)
    if increment.closed or any(part.passed for part in parts):
        return
    reasons: dict[str, int] = {}
    for record in parts:
        for reason, number in record.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + number
    stopped = [
        f"{each.path}: {each.stopped}"
        for record in increment.records(step)
        for each in record.noted(InputNotes).damage
        if each.stopped
    ]
    counted = [f"{number:,} {reason}" for reason, number in reasons.items()]
    found = ", ".join([*counted, *stopped[:3]]) or "nothing at all"
    nothing = f"{increment.path}: no document is in these files ({found}); is the --kind right"
    if step == rounds.STEP:
        again = f"`outbound corpus drop {corpus.root} {increment.name}`, then begin anew"
        raise DataError(f"{nothing}, and the --base? {again}")
    raise DataError(f"{nothing}, for jsonl and parquet the --text-field? Nothing of it is kept: import again")
