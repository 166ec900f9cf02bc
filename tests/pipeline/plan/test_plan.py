"""`outbound plan`: what it predicts, what it refuses, and how far it is off."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from pipeline.cli.main import main
from pipeline.config import RunConfig, load_ahead, require_layout
from pipeline.costs.hardware import FITTED, Measured, usable_bytes
from pipeline.costs.layout import ParallelLayout
from pipeline.costs.memory import in_flight, stage_bytes
from pipeline.costs.stages import stages_of
from pipeline.costs.time import OURS
from pipeline.errors import UsageError
from pipeline.plan.predict import Cluster, predict, steps
from pipeline.plan.search import configured, layouts, ranked
from pipeline.plan.text import UNVALIDATED
from pipeline.train.schedule import batch_size

REPOSITORY = Path(__file__).parents[3]


def shipped(name: str, *overrides: str) -> RunConfig:
    return load_ahead(REPOSITORY / "configs" / "models" / f"{name}.yaml", list(overrides))


def cluster(nodes: int, gpu: str = "a100-80", gpus_per_node: int = 8) -> Cluster:
    return Cluster.of(gpu, nodes=nodes, gpus_per_node=gpus_per_node)


def test_the_steps_are_those_that_the_loop_will_take() -> None:
    config = shipped("demo", "model.vocab_size=4096")
    taken: Counter[int] = Counter()
    consumed = 0
    while consumed < config.samples:
        size = batch_size(consumed, full=16, multiple=4, ramp_start=4, ramp_samples=60_000 // 256)
        size = min(size, config.samples - consumed)
        taken[size] += 1
        consumed += size
    assert steps(config) == taken
    assert (
        sum(size * count for size, count in steps(shipped("gpt3-xl")).items()) == shipped("gpt3-xl").samples
    )


def test_every_layout_of_the_search_is_one_that_training_takes() -> None:
    config = shipped("gpt2-xl")
    found = list(layouts(config, 32))
    assert len(found) > 20
    for layout in found:
        parallel = config.parallel.model_copy(
            update={"pipeline_stages": layout.pipeline, "zero_stage": layout.zero}
        )
        batch = config.batch.model_copy(update={"micro_batch_size": layout.micro})
        require_layout(config.model_copy(update={"parallel": parallel, "batch": batch}), layout.gpus)
        stages_of(config.model, layout)
        assert layout.zero == 1 or layout.pipeline == 1


@pytest.mark.slow(1)
def test_the_fastest_layouts_come_first_and_all_fit() -> None:
    here = cluster(1)
    found, nearest = ranked(shipped("gpt3-6.7b"), here)
    assert found
    assert all(each.too_large is None for each in found)
    assert all(each.seconds < 1.04 * later.seconds for each, later in pairwise(found))
    assert nearest is not None
    assert nearest.too_large is not None
    assert nearest.fullest > usable_bytes(here.memory_bytes)


def test_a_pipeline_has_the_bubble_of_its_schedule() -> None:
    config = shipped("gpt3-2.7b")
    one = predict(config, ParallelLayout(pipeline=8, data=1, zero=1, micro=1), cluster(1))
    waiting, working = one.step.bubble, one.step.compute
    assert waiting / working == pytest.approx(7 / 512, rel=0.05)  # (stages - 1) / micro-batches
    deeper = predict(config, ParallelLayout(pipeline=16, data=1, zero=1, micro=1), cluster(2))
    assert deeper.bubble > one.bubble
    assert [in_flight(stage, 8, 512) for stage in (0, 7)] == [8, 1]


def gigabytes(*overrides: str) -> dict[tuple[str, str], float]:
    """GB that a GPU of the last stage exchanges in a step of gpt2-xl on one node, by operation and format."""
    found = configured(shipped("gpt2-xl", *overrides), cluster(1))
    assert not isinstance(found, str)
    return {
        (message.operation, message.dtype): message.in_step(found.micro_batches) / 1e9
        for message in found.stages[-1].collectives
    }


def test_zero_2_pays_for_every_micro_batch_and_less_in_bf16() -> None:
    """1.56 billion parameters, 8 micro-batches on each of 8 replicas."""
    parameters, once, each = 1.5577, {("all_gather", "bf16"): 2.0}, 8
    for overrides, averaged in (
        (["parallel.zero_stage=1"], {("all_reduce", "fp32"): 4.0}),
        (["parallel.zero_stage=2"], {("all_reduce", "fp32"): 4.0 * each}),
        (["parallel.zero_stage=2", "parallel.reduce_dtype=bf16"], {("all_reduce", "bf16"): 2.0 * each}),
    ):
        expected = {key: value * parameters for key, value in (once | averaged).items()}
        assert gigabytes(*overrides) == pytest.approx(expected, rel=1e-3)


def test_zero_3_gathers_a_large_models_first_layers_twice() -> None:
    """DeepSpeed keeps the last 0.5 billion parameters between the passes."""
    found = configured(shipped("gpt2-xl", "parallel.zero_stage=3"), cluster(1))
    assert not isinstance(found, str)
    gathered = next(message for message in found.stages[0].collectives if message.operation == "all_gather")
    assert gathered.elements == pytest.approx(2 * 1.5577e9 - 0.5e9, rel=0.01)


def test_a_tied_matrix_is_averaged_between_the_ends_of_a_pipeline() -> None:
    found = configured(shipped("gpt2-xl", "parallel.pipeline_stages=4"), cluster(1))
    assert not isinstance(found, str)
    tied = [[message for message in stage.collectives if "tied" in message.content] for stage in found.stages]
    assert [len(messages) for messages in tied] == [1, 0, 0, 1]
    assert (tied[0][0].dtype, tied[0][0].elements) == ("fp32", 50304 * 1600)
    sent = [sum(message.operation == "send" for message in stage.collectives) for stage in found.stages]
    assert sent == [1, 2, 2, 1]


def test_the_search_keeps_to_the_format_that_was_asked_for(command: Command) -> None:
    ended = command(
        "gpt2-small", "--gpu", "a100-80", "parallel.zero_stage=2", "parallel.reduce_dtype=bf16", "--json"
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["configured"]["stages"][0]["collectives"][0]["dtype"] == "bf16"
    for found in told["layouts"]:
        fp32 = "parallel.reduce_dtype=fp32" in found["overrides"]
        assert fp32 == (found["layout"]["zero"] == 1), "ZeRO-1 refuses bf16"


def test_what_cannot_be_spread_or_does_not_fit_says_why() -> None:
    assert "3 stages do not divide 8" in str(
        configured(shipped("gpt2-xl", "parallel.pipeline_stages=3"), cluster(1))
    )
    folded = configured(
        shipped("gpt2-xl", "parallel.pipeline_stages=2", "parallel.pipeline_schedule=dualpipev"), cluster(1)
    )
    assert "dualpipev has other memory" in str(folded)
    bare = configured(shipped("gpt2-xl", "parallel.zero_stage=0"), cluster(1))
    assert "accumulates bf16 gradients in bf16" in str(bare), "training would refuse it on a GPU"
    found = configured(shipped("gpt3-13b", "parallel.pipeline_stages=1"), cluster(1))
    assert not isinstance(found, str)
    assert found.too_large is not None
    assert "a GPU of stage 0 needs" in found.too_large


def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "benchmarks" / "plan" / "run.py"))


def test_the_shares_are_the_fit_and_the_errors_those_of_the_docs() -> None:
    plan = benchmark()
    rows = plan["rows"]()
    shares = plan["fitted"](rows)
    for name, value in vars(shares).items():
        assert getattr(FITTED, name) == pytest.approx(value, abs=0.001)
    errors = {fit: [abs(row.error(FITTED)) for row in rows if row.fit == fit] for fit in (True, False)}
    assert median(errors[True]) < 0.03
    assert median(errors[False]) < 0.2
    others = [row for row in rows if row.source != "llm-foundry"]
    assert len(others) >= 8
    assert median(abs(row.error(FITTED)) for row in others) < 0.2


def test_a_plan_states_the_error_of_published_runs_on_many_gpus() -> None:
    """DeepSpeed's with and without stages, and FSDP's, planned as if they were Outbound's own."""
    plan = benchmark()
    large = [row for row in plan["rows"]() if row.source in plan["LARGE"]]
    assert {row.layout.pipeline for row in large} == {1, 4, 6, 12}
    longer = [row.error(FITTED, OURS) for row in large]
    least, middle, most = (round(100 * each(longer)) for each in (min, median, max))
    assert f"took {least} to {most} % longer than such a plan, {middle} %" in UNVALIDATED


@pytest.mark.slow(2)
def test_the_tables_of_the_docs_are_those_of_the_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    plan = benchmark()
    plan["main"]()
    printed = capsys.readouterr().out.splitlines()
    docs = (REPOSITORY / "docs" / "plan.md").read_text().splitlines()
    of_one_node = [line for line in printed if line.startswith("| llm-foundry") and line.count("|") > 6]
    tables = [line for line in printed if line.startswith("| ")]
    shown = [line for line in tables if line not in of_one_node]
    assert len(shown) > 50
    assert not [line for line in shown if line not in docs]


def test_every_published_row_names_its_source() -> None:
    plan = benchmark()
    with (plan["ROWS"].with_name("sources.csv")).open(newline="") as file:
        sources = {line["source"]: line for line in csv.DictReader(file)}
    assert set(sources) == {row.source for row in plan["rows"]()} == set(plan["PROGRAMS"])
    assert all(line["where"] and line["figures"] for line in sources.values())


@pytest.mark.parametrize("tensor", [2, 8])
def test_gpus_that_share_matrices_repeat_norms_and_pass_activations_on(tensor: int) -> None:
    """Twice the GPUs for one replica are faster than one, and slower than twice as fast."""
    plan = benchmark()
    (row,) = [row for row in plan["rows"]() if row.source == "Pythia" and row.model.d_model == 2560]
    alone = replace(row, layout=replace(row.layout, data=1))
    shared = replace(alone, tensor=tensor)
    assert shared.gpus == tensor
    assert 1 / tensor < shared.seconds(FITTED) / alone.seconds(FITTED) < 1
    assert plan["repeated"](OURS, 1) == OURS


def test_published_runs_need_no_more_memory_than_their_gpus_had() -> None:
    """Of Llama, which stands in the rows as a GPT of the same arithmetic, the bytes are others."""
    plan = benchmark()
    for row in plan["rows"]():
        if not row.source.startswith(("torchtitan", "TinyLlama")):
            stages = stages_of(row.model, row.layout)
            for place in range(len(stages)):
                needed = stage_bytes(
                    row.model,
                    stages,
                    place,
                    row.layout,
                    in_flight=in_flight(place, len(stages), row.layout.micro_batches(row.sequences)),
                    precision="bf16",
                ).total
                assert needed / row.tensor <= plan["MACHINES"][row.gpu].memory_bytes, row


def test_a_measurement_replaces_the_rates_and_without_a_name_the_device() -> None:
    found = Measured(
        name="cpu",
        memory_bytes=2e9,
        precision="fp32",
        matrix_flops=3e9,
        attention_flops=1e9,
        memory_bytes_s=5e9,
    )
    spread = {"nodes": 2, "gpus_per_node": 4, "network_gbit_s": 100.0}
    here = Cluster.of(None, **spread, measure=lambda: found)
    assert (here.name, here.memory_bytes, here.peak_flops, here.precision) == ("cpu", 2e9, 3e9, "fp32")
    assert (here.gpus, here.rates.memory_bytes, here.rates.shapes_measured) == (8, 5e9, True)
    assert here.rates.network_bytes == pytest.approx(0.8 * 100e9 / 8)
    named = Cluster.of("a100-40", **spread, measure=lambda: found)
    assert (named.name, named.memory_bytes, named.peak_flops) == ("a100-40", 40_960 * 2**20, 312e12)
    assert named.rates == replace(here.rates, link_bytes=named.rates.link_bytes)


def test_a_wrong_gpu_is_refused_before_anything_is_measured() -> None:
    def measure() -> Measured:
        raise AssertionError("measured")

    with pytest.raises(UsageError, match="'abacus' is unknown"):
        Cluster.of("abacus", nodes=1, gpus_per_node=8, measure=measure)


class Ended(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


@pytest.fixture(name="command")
def _command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `outbound plan` on a shipped configuration."""

    def run(name: str, *words: str) -> Ended:
        path = str(REPOSITORY / "configs" / "models" / f"{name}.yaml")
        monkeypatch.setattr(sys, "argv", ["outbound", "plan", path, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return Ended(int(ended.value.code or 0), told.out, " ".join(told.err.split()))

    return run


Command = Callable[..., Ended]


def test_the_command_plans_before_anything_is_packed(command: Command) -> None:
    ended = command("gpt3-small", "--gpu", "a100-80", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["parameters"] == 125_226_240
    assert told["configured"]["refused"] is None
    stages = told["configured"]["stages"]
    assert sum(stages[0]["bytes"].values()) < told["usable_bytes"]
    assert told["layouts"][0]["days"] <= told["configured"]["days"] * 1.03
    planned, counted = told["configured"], 6 * 125_226_240 + 12 * 12 * 768 * 2048
    assert planned["mfu"] == pytest.approx(planned["tokens_per_s"] * counted / (8 * 312e12))
    assert planned["mfu_causal"] < planned["mfu"]


@pytest.mark.slow(3)
def test_the_command_ends_with_1_when_nothing_fits_and_says_what_lacks(command: Command) -> None:
    ended = command("gpt3-175b", "--gpu", "a100-80")
    assert ended.code == 1
    told = ended.err
    assert "no layout fits; the nearest one: a GPU of stage" in told
    assert "Traceback" not in told


def test_calibration_takes_the_place_of_the_table(command: Command) -> None:
    small = (
        "data.tokens=nowhere",
        "model.vocab_size=512",
        "model.n_layer=1",
        "model.d_model=64",
        "model.n_ctx=64",
    )
    ended = command(
        "demo",
        *small,
        "--calibrate",
        "--gpus-per-node",
        "1",
        "parallel.pipeline_stages=1",
        "--json",
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert (told["gpu"], told["precision"]) == ("cpu", "fp32")
    for rate in ("matrix_flops", "attention_flops", "memory_bytes"):
        assert 1e6 < told["rates"][rate] < 1e13


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--gpu", "abacus"), "--gpu: 'abacus' is unknown; choose from a100-40, a100-80"),
        ((), "--gpu: is missing; name one, or give --calibrate on such a node"),
        (
            ("--gpu", "a100-80", "parallel.zero_stage=9"),
            "on the command line): Input should be less than or equal to 3",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(command: Command, words: tuple[str, ...], reason: str) -> None:
    ended = command("gpt2-small", *words)
    assert ended.code == 2
    assert reason in ended.err
