"""`outbound pack`: from text shards to token shards, alone or with others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, app, console, emit, progress
from pipeline.cli.corpus.app import CORES
from pipeline.cli.corpus.joining import Again, Grace, Join, TimeLimit, limits
from pipeline.cli.places import refuse_mixing
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from dataprep.pack.manifest import Generation
    from dataprep.pack.packing import Layout


@app.command()
def pack(
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer's directory.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the token shards go.", show_default=False)
    ],
    directory: Annotated[
        Path | None, typer.Argument(help="The corpus's directory.", show_default=False)
    ] = None,
    from_bin: Annotated[
        list[Path] | None,
        typer.Option(
            help="Instead of a corpus: others' tokens, nanoGPT's .bin or folder, or Megatron's .bin with "
            ".idx; repeatable.",
            show_default=False,
        ),
    ] = None,
    block_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of a tar's member.", show_default="the last pack's, or 1,048,576"),
    ] = None,
    shard_blocks: Annotated[
        int | None, typer.Option(min=1, help="Members of a tar.", show_default="256")
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of URLs held out for validation.",
            show_default="the last pack's, or 0.005",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that tokenise.", show_default="cores")
    ] = CORES,
    together: Join = False,
    time_limit: TimeLimit = None,
    grace: Grace = None,
    again: Again = False,
    json: Json = False,
) -> None:
    """Tokenise the current build into token shards; only what is new since the last pack.

    With --from-bin nothing is tokenised: the tokens of other programs become token shards, in their order. A
    document is held out by the hash of its tokens, or stands in nanoGPT's val.bin.

    With --join it ends with 0 when all is packed, with 75 when it was stopped before (SIGUSR1, SIGTERM,
    --for), and with 1 when parts failed too often or this machine cannot go on.
    """
    from dataprep.pack.pack import layout_of

    if (directory is None) != bool(from_bin) or (from_bin and together):
        raise UsageError("give a corpus, or files of tokens with --from-bin, which takes no --join")
    bounds = limits(together, time_limit, grace, again)
    refuse_mixing(output, "token shards")
    layout = layout_of(output, block_tokens, shard_blocks, held_out)
    output.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {}
    if directory is None:
        generation = _from_bin(from_bin or [], tokenizer, output, layout)
    elif together:
        generation, about = _join(directory, tokenizer, output, layout, workers, again, bounds)
    else:
        generation = _alone(directory, tokenizer, output, layout, workers)
    splits = generation.splits
    result = {"tokens": str(output), "generation": generation.number} | about
    result |= {
        name: {key: getattr(split, key) for key in ("tokens", "documents", "unigram_entropy_nats")}
        for name, split in splits.items()
    }
    lines = [f"{output}: generation {generation.number}"]
    lines += [
        f"{name:>6}: {split.tokens:,} tokens of {split.documents:,} documents"
        for name, split in splits.items()
    ]
    lines += [f"{about['made']:,} parts were made here."] if about else []
    emit(result, json, "\n".join(lines))


def _alone(directory: Path, tokenizer: Path, output: Path, layout: Layout, workers: int) -> Generation:
    """Pack with processes of this command only."""
    from dataprep.corpus.directory import Corpus
    from dataprep.pack.pack import pack as run
    from dataprep.store import locks

    corpus = Corpus.open(directory)
    with locks.reading(directory), locks.alone(output):
        generation = run(corpus, corpus.current_build(), tokenizer, output, layout, workers, progress)
        _note_funnel(directory, output, generation)
    return generation


def _from_bin(files: list[Path], tokenizer: Path, output: Path, layout: Layout) -> Generation:
    """Pack what is tokenised already."""
    from dataprep.pack.from_bin import pack_bins
    from dataprep.store import locks

    with locks.alone(output):
        return pack_bins(files, tokenizer, output, layout, progress)


def _join(
    directory: Path,
    tokenizer: Path,
    output: Path,
    layout: Layout,
    processes: int,
    again: bool,
    bounds: dict[str, float],
) -> tuple[Generation, dict[str, Any]]:
    """Take part in a pack; returns also what this process did."""
    from dataprep.pack.join import STAGE, Packer, join
    from dataprep.store.presence import Stopped
    from dataprep.store.workers import new_worker
    from slurm.codes import RESUME_EXIT

    worker = new_worker(STAGE, processes)
    packer = Packer.of(directory, output, worker, **bounds)
    if again:
        from dataprep.work import try_again

        try_again(output)

    def note(generation: Generation) -> None:
        _note_funnel(directory, output, generation)

    try:
        generation = join(directory, tokenizer, layout, packer, note, progress)
    except Stopped:
        console.print("stopped before all was packed; any process goes on from here")
        raise typer.Exit(RESUME_EXIT) from None
    return generation, {"worker": worker.name, "made": worker.made, "failed": worker.failed}


def _note_funnel(directory: Path, output: Path, generation: Generation) -> None:
    """Write what became of links and documents beside a generation, unless it is there already."""
    from dataprep.audit.funnel import funnel, funnel_path, save_funnel

    if not funnel_path(output, generation.number).exists():
        save_funnel(output, generation.number, funnel(directory))
