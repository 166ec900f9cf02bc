"""One corpus, pack or run at one moment: from its files and the queue to JSON, and to lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dataprep.errors import DataError
from dataprep.store.os_errors import explain_os_error
from pipeline.cli.app import duration
from pipeline.cli.places import MARKS
from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from dataprep.audit.under_way import OpenStep, PackUnderWay, UnderWay, WorkerState
    from slurm.queue import Queued
    from slurm.state import JobState
    from slurm.submissions import Submission

NAMED = 5
"""Failures, silent workers and evaluations that are named; --json names all."""
RESULTS = "*/*/results.json"
"""The results in a directory of evaluations."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen. result: for programs. lines: for people."""

    result: dict[str, Any]
    lines: list[str]
    has_failed: bool
    is_busy: bool


def look(directory: Path, submissions: Sequence[Submission], queue: Sequence[Queued] | None) -> Look:
    """Look at a corpus, token shards, a run, a fine-tuning or evaluations.

    queue: None when Slurm does not answer. Raises UsageError for another kind of directory.
    """
    from slurm.state import job_states

    jobs: list[JobState] = []
    try:
        jobs = [state for submission in submissions for state in job_states(submission, queue)]
        seen = _look_by_kind(directory, jobs)
    except UsageError:
        raise
    except (DataError, RunError, OSError) as error:
        seen = _trouble(error)
    return _of(directory, seen, jobs)


def cannot_look(directory: Path, error: OSError) -> Look:
    """What to show of a directory whose submissions cannot be read: one of another account, say."""
    return _of(directory, _trouble(error), [])


def _look_by_kind(directory: Path, jobs: Sequence[JobState]) -> Look:
    marks = {kind for mark, kind in MARKS.items() if (directory / mark).exists()}
    if "a corpus" in marks:
        return _look_at_corpus(directory, jobs)
    packs = any(directory.glob("runs/*/packing.json")) or any(job.kind == "pack" for job in jobs)
    if packs or "token shards" in marks:
        return _look_at_tokens(directory, jobs)
    if "a run" in marks or any(directory.glob("seed-*/attempts")):
        return _look_at_run(directory, jobs)
    if any(job.kind == "eval" for job in jobs) or any(directory.glob(RESULTS)):
        return _look_at_evaluations(directory, jobs)
    if jobs:
        return _look_at_run(directory, jobs)
    raise UsageError(
        f"{directory}: holds no corpus, token shards, run, fine-tuning or evaluations, and nothing was "
        "submitted for it"
    )


def _trouble(error: Exception) -> Look:
    explained = explain_os_error(error) if isinstance(error, OSError) else None
    message = str(explained or error)
    return Look(result={"error": message}, lines=[message], has_failed=True, is_busy=False)


def _of(directory: Path, seen: Look, jobs: Sequence[JobState]) -> Look:
    """What was seen, under the directory's name and above its jobs."""
    return Look(
        result={"directory": str(directory), **seen.result, "jobs": msgspec.to_builtins(jobs)},
        lines=[str(directory), *(f"  {line}" for line in [*seen.lines, *_job_lines(jobs)])],
        has_failed=seen.has_failed,
        is_busy=seen.is_busy or any(job.is_queued for job in jobs),
    )


def _look_at_corpus(directory: Path, jobs: Sequence[JobState]) -> Look:
    from dataprep.audit.under_way import under_way
    from dataprep.corpus.directory import Corpus
    from slurm.submissions import MAKING, VERIFYING

    now = under_way(Corpus.open(directory, remaking=True))
    is_queued = any(job.is_queued for job in jobs)
    # That a worker failed matters no more once others have made all parts, or found nothing wrong.
    is_verified = any(job.done for job in jobs if job.kind in VERIFYING)
    done = (MAKING if now.is_done else frozenset()) | (VERIFYING if is_verified else frozenset())
    failed = [job for job in jobs if job.has_failed and job.kind not in done]
    return Look(
        result={"kind": "corpus", **msgspec.to_builtins(now)},
        lines=list(_corpus_lines(now, is_queued)),
        has_failed=bool(failed or now.given_up),
        is_busy=any(worker.state == "at work" for worker in now.workers),
    )


def _look_at_tokens(directory: Path, jobs: Sequence[JobState]) -> Look:
    from dataprep.audit.under_way import pack_under_way

    now = pack_under_way(directory)
    # A worker ends with 0 when all is packed. That another one failed matters no more then.
    is_done = not now.begun and any(job.done for job in jobs)
    return Look(
        result={"kind": "token shards", **msgspec.to_builtins(now)},
        lines=list(_tokens_lines(now)),
        has_failed=bool(now.given_up) or any(job.has_failed and not is_done for job in jobs),
        is_busy=any(worker.state == "at work" for worker in now.workers),
    )


def _look_at_evaluations(directory: Path, jobs: Sequence[JobState]) -> Look:
    from dataprep.audit.under_way import open_steps, worker_states

    steps, workers = open_steps(directory), list(worker_states(directory))
    done = sorted(path.parent.relative_to(directory).as_posix() for path in directory.glob(RESULTS))
    given_up = any(part.given_up for step in steps for part in step.failed)
    is_done = not steps and any(job.done for job in jobs)
    lines = [f"evaluated: {name}" for name in done[-NAMED:]]
    lines += [line for step in steps for line in _step_lines(step)]
    return Look(
        result={
            "kind": "evaluations",
            "done": done,
            "steps": msgspec.to_builtins(steps),
            "workers": msgspec.to_builtins(workers),
        },
        lines=lines + (list(_worker_lines(workers)) if workers else []),
        has_failed=given_up or any(job.has_failed and not is_done for job in jobs),
        is_busy=any(worker.state == "at work" for worker in workers),
    )


def _look_at_run(directory: Path, jobs: Sequence[JobState]) -> Look:
    from pipeline.cli.run_look import RunLook

    seen = RunLook.at(directory, jobs)
    seeds = _seeds(directory)
    return Look(
        result={
            **({"kind": "fine-tuning", "seeds": seeds} if seeds else {"kind": "run"}),
            "run": msgspec.to_builtins(seen.run),
            "starts": msgspec.to_builtins(seen.starts),
            "given_up": seen.given_up,
            "left_out": seen.left_out,
            "log": seen.log,
        },
        lines=[*([_seeds_line(seeds)] if seeds else []), *seen.lines()],
        has_failed=seen.has_failed,
        is_busy=seen.goes_on,
    )


def _seeds(directory: Path) -> dict[str, Any]:
    """The seeds of a fine-tuning that are done, their mean scores, and which began last; empty of a run."""
    from statistics import fmean

    from pipeline.checkpoint.attempts import runs_of
    from pipeline.finetune.record import read, seeds_of

    newest = runs_of(directory)[-1]
    if newest == directory:
        return {}
    done = [read(seed) for seed in seeds_of(directory)]
    scores = {name: fmean(each.scores[name] for each in done) for name in (done[0].scores if done else ())}
    return {"done": [each.seed for each in done], "dev": scores, "newest": newest.name}


def _seeds_line(seeds: dict[str, Any]) -> str:
    means = "".join(f", mean dev {name} {score:.4f}" for name, score in seeds["dev"].items())
    return f"seeds done: {len(seeds['done'])}{means}; {seeds['newest']} began last:"


def _corpus_lines(now: UnderWay, is_queued: bool) -> Iterator[str]:
    from dataprep.crawl.estimate import words

    for increment in now.increments:
        begun = [f"{step}: {parts:,} parts" for step, parts in increment.begun.items()]
        state = ", ".join([*(f"{step} done" for step in increment.whole), *begun]) or "begun"
        if increment.closed:
            state = "in the current build" if increment.built else "all facts done, not in the current build"
        yield f"{increment.increment}: {state}"
        if increment.crawl:
            yield from (f"  {line}" for line in words(increment.crawl.expected).splitlines())
    for step in now.steps:
        yield from _step_lines(step)
    at_work = [worker for worker in now.workers if worker.state == "at work"]
    if at_work or (now.workers and not now.is_done):
        yield from _worker_lines(now.workers)
    if not at_work and not is_queued:
        yield f"next: {now.next}"


def _tokens_lines(now: PackUnderWay) -> Iterator[str]:
    splits = ", ".join(f"{name} {tokens:,}" for name, tokens in now.tokens.items())
    yield f"generation {now.generation}: {splits} tokens" if now.generation else "nothing is packed yet"
    if now.begun:
        yield f"being packed: {', '.join(now.begun)}"
    for step in now.steps:
        yield from _step_lines(step)
    if now.workers:
        yield from _worker_lines(now.workers)


def _step_lines(step: OpenStep) -> Iterator[str]:
    share = step.size_done / step.size if step.size else step.done / max(step.parts, 1)
    line = f"{step.step} of {step.place}: {step.done:,} of {step.parts:,} parts, {share:.0%}"
    if step.per_s:
        line += f", {step.per_s:,.3g} {step.unit if step.size else 'parts'}/s"
    yield line + (f", about {duration(step.left_s)} left" if step.left_s else "")
    for part in step.failed[:NAMED]:
        last, times = part.last, "once" if part.tries == 1 else f"{part.tries} times"
        fate = "given up" if part.given_up else "to be tried again"
        log = f"; its log: {last.log}" if last.log else ""
        yield f"  {part.part} failed {times}, {fate}; last on {last.host}: {last.kind}: {last.reason}{log}"
    if len(step.failed) > NAMED:
        yield f"  and {len(step.failed) - NAMED:,} more parts"


def _worker_lines(workers: Sequence[WorkerState]) -> Iterator[str]:
    states = [f"{sum(each.state == state for each in workers)} {state}" for state in ("at work", "ended")]
    idle, busy = (sum(getattr(each.worker, name) for each in workers) for name in ("idle_s", "busy_s"))
    yield f"workers: {', '.join(states)}; idle {idle / 3600:,.1f} of {(idle + busy) / 3600:,.1f} core-hours"
    silent = [each for each in workers if each.state == "silent"]
    for each in silent[:NAMED]:
        parts = ", ".join(f"{part.step} {part.part}" for part in each.worker.open) or "no part"
        yield f"  {each.worker.host} silent for {duration(each.age_s)}, with {parts}"
    if len(silent) > NAMED:
        yield f"  and {len(silent) - NAMED:,} more silent"


def _job_lines(jobs: Sequence[JobState]) -> Iterator[str]:
    """A line for each job, and one for a chain: jobs of one name that were submitted together."""
    from slurm.state import chain

    for _, same in groupby(jobs, key=lambda job: (job.logs, job.name)):
        chained = list(same)
        yield _job_line(chain(chained) if len(chained) > 1 else chained[0], len(chained))


def _job_line(job: JobState, links: int) -> str:
    """links: jobs of its chain."""
    states = [f"{job.running} running"] if job.running else []
    states += [f"{number} waiting ({reason})" for reason, number in job.waiting.items()]
    states += [f"{job.done} done"] if job.done else []
    states += [f"{job.stopped} stopped early"] if job.stopped else []
    states += [f"{len(job.failed)} failed"] if job.failed else []
    states += [f"{len(job.lost)} left no exit code"] if job.lost else []
    states += [f"{job.unknown} unknown"] if job.unknown else []
    tasks = f" (a chain of {links})" if links > 1 else f" ({job.tasks} tasks)" if job.tasks > 1 else ""
    named = [f"{task} with code {code}" for task, code in [*job.failed.items()][:NAMED]]
    logs = f"; {', '.join(named)}, see {job.logs}" if named else ""
    return f"job {job.id} {job.name}{tasks}: {', '.join(states)}{logs}"
