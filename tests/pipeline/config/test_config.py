"""A run's configuration: what is refused, why, and before anything starts."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from model import PRESETS
from pipeline.checkpoint import attempts
from pipeline.config import Data, Run, load_ahead, load_config, require_layout, save_config
from pipeline.errors import RunError, UsageError

MakeRun = Callable[..., Any]
ORIGIN = re.compile(r" \(given as .* on the command line\)")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["optimizer.lr=inf"], "optimizer.lr: Input should be a finite number"),
        (["guards.spike_zscore=.nan"], "guards.spike_zscore: Input should be a finite number"),
        (["model.norm_eps=.inf"], "model.norm_eps: Input should be a finite number"),
        (["optimizer.betas=[0.9, 1.0]"], "optimizer.betas.1: Input should be less than 1"),
        (["optimizer.eps=-1"], "optimizer.eps: Input should be greater than 0"),
        (["parallel.zero_stage=2"], "parallel.zero_stage: ZeRO-2 cannot be combined with 2 pipeline stages"),
        (["parallel.zero_stage=0"], "parallel.zero_stage: without ZeRO"),
        (["parallel.zero_stage=3"], "parallel.zero_stage: ZeRO-3 cannot be combined with 2 pipeline stages"),
        (
            ["parallel.pipeline_stages=1", "parallel.zero_stage=0", "train.precision=bf16"],
            "parallel.zero_stage: without ZeRO, DeepSpeed accumulates bf16 gradients in bf16",
        ),
        (
            ["parallel.pipeline_stages=1", "parallel.zero_stage=3", "train.compile=true"],
            "train.compile: ZeRO-3 fetches each layer's weights in hooks",
        ),
        (
            ["parallel.pipeline_stages=1", "parallel.pipeline_schedule=dualpipev"],
            "parallel.pipeline_schedule: dualpipev folds",
        ),
        (
            ["model.n_layer=3", "parallel.pipeline_stages=3", "parallel.pipeline_schedule=dualpipev"],
            "parallel.pipeline_stages: 6 stages cannot each hold a matrix and a gain",
        ),
        (
            ["parallel.pipeline_stages=4"],
            "parallel.pipeline_stages: 4 stages cannot each hold a matrix and a gain",
        ),
        (
            ["parallel.blocks_per_stage=[1,2]"],
            "parallel.blocks_per_stage: [1, 2] are 3 blocks, and the model has 2",
        ),
        (["parallel.blocks_per_stage=[0,2]"], "parallel.blocks_per_stage: stage 0 of [0, 2] needs a block"),
        (
            ["parallel.blocks_per_stage=[2]"],
            "parallel.blocks_per_stage: [2] has 1 entries, and the layout 2 parts",
        ),
        (
            ["batch.global_batch_size=6"],
            "batch.global_batch_size: 6 is not a multiple of batch.batch_size_multiple 4",
        ),
        (["batch.ramp_start_batch_size=3"], "batch.ramp_start_batch_size: 3 is not a multiple"),
        (["batch.ramp_start_batch_size=16"], "batch.ramp_start_batch_size: 16 is above"),
        (["batch.micro_batch_size=3"], "batch.micro_batch_size: 3 does not divide"),
        (["train.eval_sequences=6"], "train.eval_sequences: 6 is not a multiple"),
        (["train.eval_sequences=64"], "train.eval_sequences: 64 sequences of 16 are needed, 'val' holds 62"),
        (["model.n_ctx=4096"], "model.n_ctx: 1 sequences of 4096 are needed, 'train' holds 0"),
        (["model.vocab_size=60"], "model.vocab_size: 60 is below the tokenizer's 61"),
        (["model.n_head=3"], "model: d_model 32 does not divide into 3 heads"),
        (["model.n_heads=2"], "model.n_heads: unknown key; write n_head, or remove it"),
        (["model.preset=gpt5"], "model.preset: 'gpt5' is unknown"),
        (["parallel.reduce_dtype=bf16"], "parallel.reduce_dtype: ZeRO-1 averages gradients once a step, and"),
        (["optimizer.lr=fast"], "optimizer.lr: Input should be a valid number, unable"),
        (["model.perset=gpt2"], "model.perset: unknown key; write preset, or remove it"),
        (["optimiser.lr=1"], "optimiser: unknown key; write optimizer, or remove it"),
        (["data.mixture={web: {tokens: x, weigth: 1}}"], "web.weigth: unknown key; write weight"),
        (["schedule.warmup_tokens=1600"], "schedule.warmup_tokens: 1600 leaves no room for the decay"),
        (["train.tokens=63"], "train.tokens: 63 is less than batch.batch_size_multiple"),
        (["run.seed.x=1"], "'run.seed.x=1': seed is a value, not a section"),
        (["lr"], "'lr': an override is KEY=VALUE, for example optimizer.lr=1e-4"),
        (["run.dir=runs/the second #2"], "begins with # for a comment: put the value in quotes"),
        (["run.dir=runs/it's the #2"], "begins with # for a comment"),
        (["batch.ramp_start_batch_size=#4"], "begins with # for a comment"),
        (["train.tokens=["], "train.tokens: not YAML"),
        (["train.tokens=2025-02-31"], "train.tokens: not YAML: day is out of range"),
        (["model.preset=[1]"], "model.preset: [1] is unknown"),
        ([f"train.tokens={'[' * 2000}"], "train.tokens: nested too deeply"),
    ],
)
def test_what_cannot_work_is_refused_with_its_path_and_reason(
    tiny_run: MakeRun, overrides: list[str], reason: str
) -> None:
    with pytest.raises(UsageError) as refused:
        load_config(tiny_run().written(), overrides)
    assert reason in ORIGIN.sub("", str(refused.value))


def test_all_mistakes_are_told_at_once(tiny_run: MakeRun) -> None:
    with pytest.raises(UsageError, match="3 mistakes") as refused:
        load_config(tiny_run().written(), ["optimizer.lr=-1", "train.keep_last=0", "wandb.mode=loud"])
    for given in ("optimizer.lr=-1", "train.keep_last=0", "wandb.mode=loud"):
        assert f"\n  {given.partition('=')[0]} (given as {given} on the command line): " in str(refused.value)


def test_a_mistake_hides_no_other_and_is_taken_for_none(tiny_run: MakeRun) -> None:
    run = tiny_run()
    run.settings["optimizer"] = {"lrr": 0.01}
    run.settings["train"]["eval_sequences"] = 6
    run.settings["model"] = {"preset": "gpt5", "n_heads": 0}
    overrides = ["lr", "data.tokens=nowhere", "optimizer.betas=[0.9]", "trian.keep_last=0"]
    with pytest.raises(UsageError) as refused:
        load_config(run.written(), overrides)
    _, *lines = ORIGIN.sub("", str(refused.value)).splitlines()
    expected = (
        "'lr': an override is KEY=VALUE",
        "optimizer.lrr: unknown key; write lr",
        "model.n_heads: unknown key; write n_head",
        "trian: unknown key; write train",
        "data: nowhere: no generation-N.json here",
        "model.preset: 'gpt5' is unknown",
        "model: n_head is 0",
        "optimizer.betas.1: is missing",
        "train.eval_sequences: 6 is not a multiple of batch.batch_size_multiple 4",
    )
    told = "\n".join(lines)
    for line in expected:
        assert f"  {line}" in told, told
    assert len(lines) == len(expected), told


def test_a_start_whose_weights_are_not_there_is_refused(tiny_run: MakeRun) -> None:
    run = tiny_run()
    (start := run.home / "start").mkdir()
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 16, "vocab_size": 61}
    (start / "config.json").write_text(json.dumps({"model_type": "gpt2", **sizes}))
    run.settings["model"] = {}
    with pytest.raises(UsageError, match=r"run\.init_from .*: .*neither model\.safetensors nor"):
        load_config(run.written(), [f"run.init_from={start}"])
    begun = attempts.claim(run.home / "begun", processes=1)
    save_config(load_config(type(run).make(run.home).written(), [])[0], begun.folder / "config.yaml")
    begun.begin(attempts.Origin(attempt=0, step=0))
    with pytest.raises(UsageError, match="begun: no checkpoint yet: train it first"):
        load_config(run.written(), [f"run.init_from={begun.run}"])


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1.5E-3", 1.5e-3), ("2e0", 2.0), ("0.5", 0.5), (".25", 0.25)]
)
def test_numbers_are_numbers_however_they_are_written(tiny_run: MakeRun, text: str, value: float) -> None:
    config, _ = load_config(tiny_run().written(), [f"optimizer.lr={text}"])
    assert config.optimizer.lr == value


def test_tokens_may_be_written_in_powers_of_ten(tiny_run: MakeRun) -> None:
    config, _ = load_config(tiny_run().written(), ["train.tokens=3e5", "schedule.warmup_tokens=10_000"])
    assert (config.train.tokens, config.schedule.warmup_tokens) == (300_000, 10_000)


def test_a_preset_fills_the_model_and_the_tokenizer_its_vocabulary(tiny_run: MakeRun) -> None:
    run = tiny_run()
    run.settings["model"] = {"preset": "gpt3-small", "n_ctx": 32}
    config, _ = load_config(run.written(), [])
    assert (config.model.n_layer, config.model.attention) == (12, ("dense", "banded:256"))
    assert (config.model.n_ctx, config.model.vocab_size) == (32, 61)


def test_a_run_keeps_its_generation_when_newer_ones_appear(
    tiny_run: MakeRun, write_tokens: Callable[..., Any]
) -> None:
    run = tiny_run()
    config, _ = load_config(run.written(), [])
    attempt = attempts.claim(run.dir, processes=1)
    save_config(config, attempt.folder / "config.yaml")
    write_tokens(run.home / "tokens", 2)
    assert load_config(run.written(), [])[1].pins == {"": 2}, "it has not begun, and may have been refused"
    attempt.begin(attempts.Origin(attempt=0, step=0))
    assert load_config(run.written(), [])[1].pins == {"": 1}
    assert load_config(run.written(), ["run.dir=elsewhere"])[1].pins == {"": 2}


def test_the_resolved_configuration_reads_back_the_same(tiny_run: MakeRun) -> None:
    run = tiny_run()
    config, _ = load_config(run.written(), ["optimizer.lr=1e-4"])
    save_config(config, run.home / "resolved.yaml")
    again, _ = load_config(run.home / "resolved.yaml", [])
    assert again == config
    assert dataclasses.asdict(again.model) == dataclasses.asdict(config.model)


def test_a_resolved_configuration_is_never_seen_half_written(tiny_run: MakeRun) -> None:
    run = tiny_run()
    config, _ = load_config(run.written(), [])
    save_config(config, run.home / "resolved.yaml")
    before = (run.home / "resolved.yaml").open()
    save_config(config.model_copy(update={"run": Run(dir=run.dir, seed=7)}), run.home / "resolved.yaml")
    assert yaml.safe_load(before)["run"]["seed"] == 3, "it was renamed over, not overwritten"
    assert yaml.safe_load((run.home / "resolved.yaml").read_text())["run"]["seed"] == 7


@pytest.mark.parametrize(
    ("processes", "reason"),
    [
        (3, "parallel.pipeline_stages: 2 stages do not divide 3 processes"),
        (6, "batch.batch_size_multiple: 4 is not a multiple of micro-batch 1 x 3"),
    ],
)
def test_a_layout_that_would_not_divide_is_refused(tiny_run: MakeRun, processes: int, reason: str) -> None:
    config, _ = load_config(tiny_run().written(), [])
    require_layout(config, 2)
    require_layout(config, 8)
    with pytest.raises(UsageError, match=reason):
        require_layout(config, processes)


def test_dualpipev_needs_a_micro_batch_for_each_of_its_stages(tiny_run: MakeRun) -> None:
    folded = ["model.n_layer=4", "parallel.pipeline_schedule=dualpipev"]
    config, _ = load_config(tiny_run().written(), folded)
    require_layout(config, 2)
    with pytest.raises(
        UsageError, match=r"needs 4 micro-batches a step, and batch\.batch_size_multiple 4 may leave 2"
    ):
        require_layout(config, 4)


def test_files_that_cannot_be_read_are_named(tiny_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: no such file"):
        load_config(tmp_path / "none.yaml", [])
    (tmp_path / "torn.yaml").write_text("run: {")
    with pytest.raises(UsageError, match=r"torn\.yaml: not YAML"):
        load_config(tmp_path / "torn.yaml", [])
    with pytest.raises(RunError, match="no generation-N"):
        load_config(tiny_run().written(), [f"data.tokens={tmp_path}"])


CONFIGS = Path(__file__).parents[3] / "configs"
SHIPPED = sorted((CONFIGS / "models").glob("*.yaml"))
TOKENS_A_STEP = {  # Radford et al. 2018, section 4.1; 2019, section 2.3; Brown et al. 2020, table 2.1
    "gpt1": 64 * 512,
    **dict.fromkeys(("gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl"), 512 * 1024),
    **dict.fromkeys(("gpt3-small", "gpt3-medium", "gpt3-large"), 0.5e6),
    **dict.fromkeys(("gpt3-xl", "gpt3-2.7b"), 1e6),
    **dict.fromkeys(("gpt3-6.7b", "gpt3-13b"), 2e6),
    "gpt3-175b": 3.2e6,
}
RATES = {  # GPT-1's own; GPT-3's table 2.1, which GPT-2's configurations follow by size
    "gpt1": 2.5e-4,
    "small": 6.0e-4,
    "medium": 3.0e-4,
    "large": 2.5e-4,
    "xl": 2.0e-4,
    "2.7b": 1.6e-4,
    "6.7b": 1.2e-4,
    "13b": 1.0e-4,
    "175b": 0.6e-4,
}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_configurations_that_we_ship_are_whole(path: Path, tiny_run: MakeRun) -> None:
    raw = yaml.safe_load(path.read_text())
    tokens = tiny_run().home / "tokens"
    names = [f"data.mixture.{name}.tokens={tokens}" for name in raw["data"].get("mixture", ())]
    enough = ["train.eval_sequences=512", "model.n_ctx=1", f"run.dir={tiny_run().dir}"]
    config, _ = load_config(path, [*(names or [f"data.tokens={tokens}"]), *enough])
    assert set(raw) == set(type(config).model_fields), "every section is written out"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_recipe_of_its_paper(name: str) -> None:
    config = load_ahead(CONFIGS / "models" / f"{name}.yaml", [])
    assert config.model == PRESETS[name]
    tokens = config.batch.global_batch_size * config.model.n_ctx
    assert tokens == pytest.approx(TOKENS_A_STEP[name], rel=0.05)
    assert config.optimizer.lr == RATES[name.partition("-")[2] or name]
    recipe = config.optimizer.betas, config.optimizer.weight_decay, config.schedule.min_lr_ratio
    if name == "gpt1":
        assert recipe == ((0.9, 0.999), 0.01, 0)
        assert config.schedule.warmup_tokens == 2000 * tokens
        return
    assert recipe == ((0.9, 0.95), 0.1, 0.1)
    assert (config.optimizer.eps, config.optimizer.max_grad_norm) == (1e-8, 1.0)
    assert (config.schedule.warmup_tokens, config.schedule.decay_tokens) == (375_000_000, 260_000_000_000)
    assert config.train.tokens == 300_000_000_000
    if name.startswith("gpt3"):
        assert config.batch.ramp_start_batch_size == 32_768 // config.model.n_ctx
        assert 4e9 <= config.batch.ramp_tokens <= 12e9
        mix = yaml.safe_load((CONFIGS / "mixtures" / "gpt3.yaml").read_text())
        assert config.data.mixture == Data.model_validate(mix["data"]).mixture


def test_a_configuration_is_read_before_its_tokens_are_packed(tiny_run: MakeRun) -> None:
    run = tiny_run()
    assert load_ahead(run.written(), []).model.vocab_size == 61, "they are there, and say it"
    unpacked = [f"data.tokens={run.home / 'later'}"]
    assert load_ahead(run.written(), [*unpacked, "model.vocab_size=99"]).model.vocab_size == 99
    with pytest.raises(UsageError, match="unknown, since the tokens are not packed yet"):
        load_ahead(run.written(), unpacked)
    with pytest.raises(UsageError, match="3 does not divide"):
        load_ahead(run.written(), [*unpacked, "model.vocab_size=99", "batch.micro_batch_size=3"])


def test_gpt_3_s_mix_is_of_shipped_recipes_in_the_papers_weights() -> None:
    text = (CONFIGS / "mixtures" / "gpt3.yaml").read_text()
    sources = Data.model_validate(yaml.safe_load(text)["data"]).sources()
    weights = {name: weight for name, (_, _, weight) in sources.items()}
    assert list(weights.values()) == [60, 22, 8, 8, 3]  # Brown et al. 2020, table 2.2
    assert weights.keys() <= {path.stem for path in (CONFIGS / "corpora").glob("*.yaml")}
    shares = [f"{100 * weight / sum(weights.values()):.1f} %" for weight in weights.values()]
    assert f"{', '.join(shares[:-1])} and {shares[-1]}" in text
