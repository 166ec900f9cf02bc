"""From a cluster profile and a job to an sbatch script that people can read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import xxhash
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec.structs import replace

from slurm.codes import INTERRUPTED, RESUME_EXIT, SUPERSEDED_EXIT
from slurm.profile import EvalProfile, JobProfile, TrainProfile
from slurm.submissions import Job


def render(profile: JobProfile, job: Job, logs: Path) -> str:
    """Write the script of a job, whose output goes to the folder `logs`."""
    templates = Environment(
        loader=PackageLoader("slurm"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["quote"] = lambda word: shlex.quote(str(word))
    kind = "train" if job.part == "train" else "corpus"
    name = "%A_%a" if job.workers else "%j"
    return templates.get_template(f"{kind}.sbatch.j2").render(
        profile=profile,
        job=job,
        logs=logs,
        output=shlex.quote(str(logs).replace("%", "%%") + f"/{name}.log"),
        run=logs.parents[1],
        again=RESUME_EXIT if job.stop == "USR1" else INTERRUPTED,
        superseded=SUPERSEDED_EXIT,
        gpus=profile.gpus if isinstance(profile, EvalProfile) else 0,
        gpu_option=_gpu_option(profile),
    )


def _gpu_option(profile: JobProfile) -> str:
    """Ask for GPUs in the cluster's way; "" for none."""
    if isinstance(profile, TrainProfile):
        task, node = 1, profile.gpus_per_node
    elif isinstance(profile, EvalProfile):
        task = node = profile.gpus  # a worker is alone on its node
    else:
        return ""
    options = {"gres": f"--gres=gpu:{node}", "gpus-per-node": f"--gpus-per-node={node}"}
    return options.get(profile.gpus_by, f"--gpus-per-task={task}") if node else ""


def train(config: str, command: Sequence[str], max_restarts: int = 20) -> Job:
    """The job that trains, one process a GPU. config: gives it its name. command: the words that train."""
    return Job(
        part="train",
        name=job_name(command[1], config),
        command=[*command],
        stop="USR1",
        max_restarts=max_restarts,
    )


def chain(job: Job, run: Path, length: int) -> list[Job]:
    """Jobs like this one, of which one at a time trains a run: their name is that of no other run's jobs."""
    name = f"{job.name}-{xxhash.xxh3_64_hexdigest(str(run.resolve()).encode())[:8]}"
    return [replace(job, name=name, is_chained=True) for _ in range(length)]


def dumps(
    directory: str, paths: Sequence[str], increment: str, until: str, options: Sequence[str] = ()
) -> Job:
    """The job that begins an increment. until: `links`, or `dumps`, which only notes what there is.

    options: more words of `outbound corpus add`.
    """
    return Job(
        part="links",
        name=job_name(until, directory),
        command=[
            *("outbound", "corpus", "add", directory, *paths, "--name", increment, "--until", until),
            *options,
        ],
        stage=until,
        per_core="--workers",
        stop="INT",
    )


def linkers(directory: str, workers: int, after: Sequence[str] = ()) -> Job:
    """The array of workers that read the dumps which were noted."""
    return Job(
        part="links",
        name=job_name("links", directory),
        command=["outbound", "corpus", "work", directory, "--stage", "links"],
        workers=workers,
        per_core="--processes",
        stop="USR1",
        after=list(after),
    )


def crawlers(directory: str, workers: int, options: Sequence[str], after: Sequence[str] = ()) -> Job:
    """The array of workers that crawl; options: those of the crawl."""
    return Job(
        part="fetch",
        name=job_name("fetch", directory),
        command=["outbound", "corpus", "work", directory, "--stage", "fetch", *options],
        workers=workers,
        stop="USR1",
        after=list(after),
    )


def worker(directory: str, workers: int, after: Sequence[str] = ()) -> Job:
    """The array of workers that make what a corpus lacks from its pages on."""
    return Job(
        part="cpu",
        name=job_name("work", directory),
        command=["outbound", "corpus", "work", directory, "--stage", "cpu"],
        workers=workers,
        per_core="--processes",
        stop="USR1",
        after=list(after),
    )


def packer(directory: str, options: Sequence[str], workers: int) -> Job:
    """The array of workers that pack a corpus together. options: those of `outbound pack`."""
    return Job(
        part="cpu",
        name=job_name("pack", directory),
        command=["outbound", "pack", directory, *options, "--join"],
        workers=workers,
        per_core="--workers",
        stop="USR1",
    )


def verifier(directory: str, options: Sequence[str], workers: int) -> Job:
    """The array of workers that verify a corpus together. options: those of `outbound corpus verify`."""
    return Job(
        part="cpu",
        name=job_name("verify", directory),
        command=["outbound", "corpus", "verify", directory, *options, "--join"],
        stage="verify",
        workers=workers,
        per_core="--workers",
        stop="USR1",
    )


def evaluator(model: str, options: Sequence[str], workers: int) -> Job:
    """The array of workers that evaluate a model together. options: those of `outbound eval`."""
    return Job(
        part="eval",
        name=job_name("eval", model),
        command=["outbound", "eval", model, *options, "--join"],
        workers=workers,
        per_core="--nproc",
        stop="USR1",
    )


def watcher(run: str, options: Sequence[str]) -> Job:
    """The job that evaluates each new checkpoint of a run. options: those of `outbound eval`."""
    return Job(
        part="eval",
        name=job_name("watch", run),
        command=["outbound", "eval", run, *options, "--watch"],
        per_core="--nproc",
        stop="INT",
    )


def job_name(kind: str, path: str) -> str:
    """Name a job after its configuration or corpus.

    >>> job_name("train", "/data/my configs/gpt2-small.yaml")
    'outbound-train-gpt2-small'
    """
    stem = re.sub(r"\.ya?ml$", "", path.rsplit("/", 1)[-1])
    return f"outbound-{kind}-" + re.sub(r"[^\w.-]+", "-", stem)
