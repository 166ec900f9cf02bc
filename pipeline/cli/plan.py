"""`outbound plan`: what a run needs and how long it takes, before a job is submitted."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, emit
from pipeline.cli.configs import RunFile


@app.command()
def plan(
    config: RunFile,
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
    node_failures_per_hour: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Nodes that are lost in an hour: show what they cost."),
    ] = None,
    restart_s: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds from a loss to the next step.", show_default="601"),
    ] = None,
    storage: Annotated[
        float | None,
        typer.Option(min=0.001, help="GB/s at which all nodes together save.", show_default="1 a node"),
    ] = None,
    json: Json = False,
) -> None:
    """Say what training CONFIG needs of each GPU, how long it takes, and which layout suits a cluster best.

    The tokens need not be packed yet. Ends with code 1 when no layout fits.
    """
    from pipeline.config import load_ahead
    from pipeline.errors import RunError
    from pipeline.plan.failures import Failures
    from pipeline.plan.predict import Cluster
    from pipeline.plan.search import configured, ranked, why_none_fits
    from pipeline.plan.text import as_json, as_text

    settings = load_ahead(config, overrides or [])
    measure = None
    if calibrate:
        from pipeline.plan.calibrate import calibrate as measure_node  # with torch

        measure = partial(measure_node, settings.model, gpus_per_node)
    cluster = Cluster.of(
        gpu, nodes=nodes, gpus_per_node=gpus_per_node, network_gbit_s=network, measure=measure
    )
    asked = configured(settings, cluster)
    found, nearest = ranked(settings, cluster)
    failures = None
    if node_failures_per_hour:
        failures = Failures.of(
            settings,
            cluster,
            an_hour=node_failures_per_hour,
            restart_s=restart_s,
            storage_bytes_s=storage and storage * 1e9,
        )
    result = as_json(settings, cluster, asked, found, failures)
    emit(result, json, as_text(settings, cluster, asked, found, failures))
    if not found:
        raise RunError(why_none_fits(settings, cluster, nearest))
