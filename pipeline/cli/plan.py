"""`outbound plan`: what a run needs and how long it takes, before a job is submitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, app, emit

if TYPE_CHECKING:
    from pipeline.config import RunConfig
    from pipeline.plan.predict import Cluster


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="A run's YAML, such as configs/models/gpt3-6.7b.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Values that replace the file's.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1)] = 1,
    gpus_per_node: Annotated[int, typer.Option(min=1, help="Without GPUs: processes of a node.")] = 8,
    gpu: Annotated[str | None, typer.Option(help="Such as a100-80; another word lists them all.")] = None,
    network: Annotated[
        float | None, typer.Option(min=0.1, help="Gbit/s of a node, all adapters together.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this node's speed, in place of the table's.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what training CONFIG needs of each GPU, how long it takes, and which layout suits a cluster best.

    The tokens need not be packed yet. Ends with code 1 when no layout fits.
    """
    from pipeline.config import load_ahead
    from pipeline.errors import RunError
    from pipeline.plan.search import configured, ranked
    from pipeline.plan.text import as_json, as_text

    settings = load_ahead(config, overrides or [])
    cluster = _cluster(settings, nodes, gpus_per_node, gpu, network, calibrate)
    asked = configured(settings, cluster)
    found, nearest = ranked(settings, cluster)
    emit(as_json(settings, cluster, asked, found), json, as_text(settings, cluster, asked, found))
    if not found:
        told = (
            f"the nearest one: {nearest.too_large}"
            if nearest
            else (
                f"{cluster.gpus} GPUs do not divide into stages and replicas of batch.batch_size_multiple "
                f"{settings.batch.batch_size_multiple}: raise it, with batch.ramp_start_batch_size"
            )
        )
        raise RunError(f"no layout fits; {told}")


def _cluster(
    config: RunConfig, nodes: int, gpus_per_node: int, gpu: str | None, network: float | None, calibrate: bool
) -> Cluster:
    from dataclasses import replace

    from pipeline.costs.hardware import CPU, FITTED, GPUS, Rates
    from pipeline.errors import UsageError
    from pipeline.plan.predict import Cluster

    if gpu is None and not calibrate:
        raise UsageError("--gpu: say which, or --calibrate on such a node")
    if gpu is not None and gpu not in GPUS:
        raise UsageError(f"--gpu: {gpu!r} is unknown; choose from {', '.join(GPUS)}, or --calibrate on one")
    kind = GPUS[gpu] if gpu else CPU
    rates = Rates.of(kind, FITTED, gpus_per_node, network and network * 1e9)
    if not calibrate:
        return Cluster(
            name=str(gpu),
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            memory_bytes=kind.memory_bytes,
            peak_flops=kind.peak_flops,
            rates=rates,
            precision="bf16",
        )
    from pipeline.plan.calibrate import calibrate as measure

    found = measure(config.model, gpus_per_node)
    rates = replace(
        rates,
        matrix_flops=found.matrix_flops,
        attention_flops=found.attention_flops,
        memory_bytes=found.memory_bytes_s,
        shapes_measured=True,
    )
    peak = kind.peak_flops if gpu else found.matrix_flops
    memory = kind.memory_bytes if gpu else found.memory_bytes
    return Cluster(
        name=gpu or found.name,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        memory_bytes=memory,
        peak_flops=peak,
        rates=rates,
        precision=found.precision,
    )
