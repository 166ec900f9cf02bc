"""`outbound submit corpus`, `select`, `pack`, `verify`, `eval` and `more`: arrays of workers."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import eval_options
from pipeline.cli.app import Json
from pipeline.cli.configs import Cluster, LastCluster
from pipeline.cli.corpus import crawl_options as options
from pipeline.cli.places import refuse_mixing
from pipeline.cli.submitting import DryRun, asking, given_words, submit, submit_app
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from dataprep.corpus.directory import Corpus


class Stage(StrEnum):
    """The kinds of workers that are submitted as arrays."""

    links = "links"
    fetch = "fetch"
    cpu = "cpu"
    verify = "verify"


Directory = Annotated[Path, typer.Argument(help="The corpus's directory.", show_default=False)]
Workers = Annotated[int, typer.Option(min=1, help="Tasks of the array, each a worker with its own cores.")]
WORKERS, CRAWLERS, LINKERS, EVALUATORS = 64, 8, 4, 8


@submit_app.command("corpus")
def submit_corpus(
    directory: Directory,
    dumps: Annotated[list[Path], typer.Argument(help="Dumps of submissions.", show_default=False)],
    cluster: Cluster,
    name: Annotated[
        str | None, typer.Option(help="The increment's name.", show_default="the first dump's")
    ] = None,
    workers: Workers = WORKERS,
    crawlers: Annotated[
        int, typer.Option(min=1, help="Tasks of the array that crawls, each with --partitions at once.")
    ] = CRAWLERS,
    linkers: Annotated[
        int, typer.Option(min=1, help="Tasks of the array that reads dumps; no more than there are dumps.")
    ] = LINKERS,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Take what a truncated dump holds.")
    ] = False,
    crawl: options.CrawlFile = None,
    contact: options.Contact = None,
    hours: options.Hours = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Ingest dumps as an increment: arrays that read dumps, crawl, and do all else.

    A job before them notes which dumps there are, and reads the dump if there is just one. Submit the same
    again, and it goes on with what is left.
    """
    from dataprep.crawl.settings import CrawlSettings
    from dataprep.imports.stage import refuse_dumps
    from dataprep.links.dumps import increment_name, refuse_missing
    from pipeline.config.named import find
    from slurm import script

    corpus, root = _open(directory)
    refuse_missing(dumps)
    increment = name or increment_name(dumps[0])
    if known := corpus.known_increment(increment):
        refuse_dumps(known)
    file = find("crawls", crawl) if crawl else None
    CrawlSettings.load({"contact": contact, "hours": hours}, file).refuse_without_contact()
    paths = [str(dump.resolve()) for dump in dumps]
    crawling = {"--crawl": file and file.resolve(), "--contact": contact, "--hours": hours}
    linkers = min(linkers, len(dumps))
    begins = script.dumps(
        root,
        paths,
        increment,
        until="dumps" if linkers > 1 else "links",
        options=["--allow-truncated"] * allow_truncated,
    )
    links = [script.linkers(root, linkers)] if linkers > 1 else []
    jobs = [
        begins,
        *links,
        script.crawlers(root, crawlers, given_words(crawling)),
        script.worker(root, workers),
    ]
    submit("corpus", directory, cluster, jobs, dry_run, json)


@submit_app.command("select")
def submit_select(
    directory: Directory,
    cluster: Cluster,
    workers: Workers = WORKERS,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make the build of the recipe, from the facts that are there: an array of workers."""
    from slurm import script

    corpus, root = _open(directory)
    if not corpus.increments():
        raise UsageError(f"{directory}: {corpus.way_to_a_build}")
    submit("select", directory, cluster, [script.worker(root, workers)], dry_run, json)


@submit_app.command("pack")
def submit_pack(
    directory: Directory,
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer's directory.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the token shards go.", show_default=False)
    ],
    cluster: Cluster,
    block_tokens: Annotated[int | None, typer.Option(min=1, help="As `outbound pack`.")] = None,
    shard_blocks: Annotated[int | None, typer.Option(min=1, help="As `outbound pack`.")] = None,
    held_out: Annotated[float | None, typer.Option(min=0, max=1, help="As `outbound pack`.")] = None,
    workers: Workers = WORKERS,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Tokenise the current build into token shards: an array of workers.

    `outbound status`, `logs`, `cancel` and `submit more` take the directory of the token shards.
    """
    from dataprep.tokenizer.tokenizer import load
    from slurm import script

    corpus, root = _open(directory)
    corpus.current_build()
    load(tokenizer)
    refuse_mixing(output, "token shards")
    places = {"--tokenizer": tokenizer.resolve(), "--output": output.resolve()}
    shape = {"--block-tokens": block_tokens, "--shard-blocks": shard_blocks, "--held-out": held_out}
    submit(
        "pack", output, cluster, [script.packer(root, given_words(places | shape), workers)], dry_run, json
    )


@submit_app.command("verify")
def submit_verify(
    directory: Directory,
    cluster: Cluster,
    tokens: Annotated[
        list[Path] | None, typer.Option(help="Also check these token shards of it; may be repeated.")
    ] = None,
    workers: Workers = WORKERS,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Check every file of a corpus and that all counts add up: an array of workers.

    Each prints the same report; the corpus keeps it in logs/verify-NUMBER.json.
    """
    from slurm import script

    _, root = _open(directory)
    # A task that begins after the others have ended finds their report in this file.
    once = f"{root}/logs/verify-{time.time_ns():x}.json"
    given = given_words({"--tokens": [path.resolve() for path in tokens or []], "--once": once})
    submit("verify", directory, cluster, [script.verifier(root, given, workers)], dry_run, json)


@submit_app.command("eval")
def submit_eval(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|HF_DIR", help="A run, or a directory that transformers loads.", show_default=False
        ),
    ],
    data: eval_options.Data,
    cluster: Cluster,
    overlap: eval_options.Overlap = None,
    tasks: eval_options.Tasks = None,
    task_file: eval_options.TaskFiles = None,
    trust: eval_options.Trust = False,
    shots: eval_options.Shots = None,
    protocol: eval_options.Protocol = None,
    limit: eval_options.Limit = None,
    seed: eval_options.Seed = 0,
    step: eval_options.Step = None,
    watch: eval_options.Watch = False,
    dtype: eval_options.Dtype = "auto",
    out: eval_options.Out = None,
    workers: Workers = EVALUATORS,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Evaluate a model as `outbound eval` does: an array of workers, or with --watch one job.

    `outbound status`, `logs` and `cancel` take RUN/evaluations, or --out.
    """
    from pipeline.eval.choose import choose
    from pipeline.eval.trained_model import newest_step
    from slurm import script

    if watch and step is not None:
        raise UsageError("--watch takes each checkpoint; leave out --step")
    if data is None:
        raise UsageError("--data: give the directory of the sets")
    wanted, known = eval_options.wanted(tasks, task_file, trust, shots, protocol)
    eval_options.refuse_nothing(choose(wanted, known, data), data)
    evaluations = (out or eval_options.evaluations_of(run)).resolve()
    refuse_mixing(evaluations, "evaluations")
    if not watch and step is None:
        step = newest_step(run)  # all workers take the same checkpoint, also while the run trains on
    given = {
        "--data": data.resolve(),
        "--overlap": overlap and overlap.resolve(),
        "--tasks": tasks,
        "--shots": shots,
        "--protocol": protocol,
        "--limit": limit,
        "--seed": seed or None,
        "--step": step,
        "--dtype": None if dtype == "auto" else dtype,
        "--out": out and evaluations,
        "--task-file": [path.resolve() for path in task_file or []],
    }
    words = [*given_words(given), *(["--trust"] if trust else [])]
    model = str(run.resolve())
    job = script.watcher(model, words) if watch else script.evaluator(model, words, workers)
    submit("eval", evaluations, cluster, [job], dry_run, json)


@submit_app.command("more")
def submit_more(
    directory: Annotated[
        Path, typer.Argument(help="The directory of a corpus or of token shards.", show_default=False)
    ],
    workers: Annotated[int, typer.Option(min=1, help="How many more.", show_default=False)],
    stage: Annotated[
        Stage, typer.Option(help="What they do: read dumps, crawl, all that comes after it, or verify.")
    ] = Stage.cpu,
    cluster: LastCluster = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Add workers to those of a corpus or of a pack: any number at any time."""
    from msgspec.structs import replace

    from slurm import queue, submissions

    if (directory / "recipe.yaml").exists():
        _open(directory)
    submitted = [
        (submission, job) for submission in submissions.of_directory(directory) for job in submission.jobs
    ]
    arrays = [(submission, job) for submission, job in submitted if job.workers and job.stage == stage]
    if not arrays:
        raise UsageError(
            f"{directory}: no {stage} workers were submitted for it yet; use `outbound submit corpus`, "
            "`select`, `pack` or `verify`"
        )
    submission, last = arrays[-1]
    if cluster is None and not submission.cluster.is_file():
        raise UsageError(f"{submission.cluster}: is gone; give another profile with --cluster")
    before = [job for _, job in submitted if job.id in last.after]
    waiting = dict.fromkeys(task.job for task in asking(lambda: queue.squeue(before)))
    job = replace(last, workers=workers, after=[*waiting], id="")
    kind = "more-verify" if stage is Stage.verify else "more"
    submit(kind, directory, cluster or submission.cluster, [job], dry_run, json, beside=True)


def _open(directory: Path) -> tuple[Corpus, str]:
    """A corpus whose recipe loads, and its absolute path."""
    from dataprep.corpus.directory import Corpus

    return Corpus.open(directory, remaking=True), str(directory.resolve())
