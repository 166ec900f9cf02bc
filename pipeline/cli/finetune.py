"""`outbound finetune`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, app, console, emit, progress
from pipeline.cli.configs import FinetuneFile
from pipeline.cli.corpus.app import CORES, table
from pipeline.cli.places import OF_FINETUNINGS, refuse_strangers
from pipeline.cli.train import train
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.finetune.settings import Finetune


@app.command()
def finetune(
    config: FinetuneFile,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Values that replace the file's.")
    ] = None,
    nproc: Annotated[int, typer.Option(min=1, help="Local processes, each with the whole model.")] = 1,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch", help="Keep the shape of finetune.init_from, and begin with random weights."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Fine-tune a pretrained GPT on labelled texts, as GPT-1 was.

    The start is a run, an exported directory or released weights. Each seed is a training of its own, and its
    model goes to DIR/seed-N; scores over all seeds go to DIR/results.json, the page to DIR/report.html.

    With `kind: lm` there are no labels: a folder of texts is packed into DIR/tokens, and the pretraining
    continues on it in DIR/run, as `outbound train` trains.

    SIGTERM, SIGUSR1 and Ctrl-C save a checkpoint and end with code 0 and "stopped" in the result; the same
    command continues. Started by srun or torchrun, each process is one rank; under srun a stop ends with
    code 75. Code 76: a start on another machine has taken over.
    """
    from pipeline.distributed.ranks import Rank, rank_from_environment
    from pipeline.distributed.stop import StopRequest
    from pipeline.finetune.settings import continues_pretraining, load_config, read
    from pipeline.finetune.start import finetune_as_rank, finetune_in_processes

    given = [*(overrides or []), *(["finetune.from_scratch=true"] if from_scratch else [])]
    if continues_pretraining(raw := read(config, given)):
        _continue_pretraining(raw, config, nproc, json)
        return
    settings = load_config(config, given)
    where = settings.finetune.dir
    refuse_strangers(where, "a fine-tuning", OF_FINETUNINGS)
    rank = rank_from_environment()
    if rank is None and nproc > 1:
        finetune_in_processes(config, given, nproc)
    else:
        alone = Rank(global_rank=0, world_size=1, local_rank=0)
        finetune_as_rank(settings, rank or alone, StopRequest())
    stopped = _seeds_done(settings.finetune) < len(settings.finetune.seeds)
    if rank is None or rank.is_first:
        _show(settings.finetune, stopped, json)
    if rank is not None and rank.srun and stopped:
        from slurm.codes import RESUME_EXIT

        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as in `outbound train`: srun's code is the highest
        raise typer.Exit(RESUME_EXIT)


def _continue_pretraining(raw: dict[str, Any], config: Path, nproc: int, json: bool) -> None:
    """Pack the texts, unless that is done, and train on them."""
    from pipeline.distributed.ranks import rank_from_environment
    from pipeline.finetune.texts import load_config, prepare

    if rank_from_environment() is not None:
        raise UsageError(
            f"{config}: finetune.kind: lm packs its texts alone: run it without srun and torchrun; then "
            "`outbound train` takes DIR/train.yaml under them"
        )
    settings = load_config(raw, str(config))
    refuse_strangers(settings.finetune.dir, "a fine-tuning", OF_FINETUNINGS)
    prepared = prepare(settings, CORES, progress)
    console.print(table(prepared.counts), highlight=False, markup=False, soft_wrap=True)
    train(prepared.settings, [], nproc, json)


def _seeds_done(settings: Finetune) -> int:
    from pipeline.finetune.record import RECORD

    return sum((settings.dir / f"seed-{seed}" / RECORD).exists() for seed in settings.seeds)


def _show(settings: Finetune, stopped: bool, json: bool) -> None:
    """Print the scores over all seeds that are done."""
    from pipeline.finetune.page import REPORT
    from pipeline.finetune.results import RESULTS, read_results

    done = _seeds_done(settings)
    result = {"dir": str(settings.dir), "stopped": stopped, "seeds_done": done}
    if not done:
        emit(result, json, f"{settings.dir}: stopped before the end of the first seed; run it again to go on")
        return
    scores = [each for each in read_results(settings.dir).scores if each.part == "dev"]
    means = {each.measure: each.mean for each in scores}
    result |= {"scores": means, "results": str(settings.dir / RESULTS), "report": str(settings.dir / REPORT)}
    lines = [f"{settings.dir}: {done} of {len(settings.seeds)} seeds{', stopped' if stopped else ''}"]
    for each in scores:
        spread = f" (median {each.median:.4f}, {each.low:.4f} to {each.high:.4f})" if done > 1 else ""
        lines.append(f"dev {each.measure}: {each.mean:.4f}{spread}")
    emit(result, json, "\n".join([*lines, f"report: {settings.dir / REPORT}"]))
