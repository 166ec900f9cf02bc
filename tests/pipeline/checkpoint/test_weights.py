"""A trained model writes, goes to transformers and comes back, and another run begins with it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from dataprep.store.files import hash_file
from dataprep.store.os_errors import explain_os_error
from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.train import train as train_tokenizer
from pipeline.checkpoint.weights import open_weights
from pipeline.config import load_config
from pipeline.errors import RunError, UsageError
from pipeline.inference.export import export
from pipeline.inference.generate import generate_texts
from pipeline.inference.settings import Settings
from support import cli, evaluations
from support.servers import wandb

pytestmark = pytest.mark.slow(15)

GREEDY = Settings(temperature=0.0, max_tokens=15)
PROMPTS = ["the links", "a", "of the people that voted, the"]


def test_texts_for_several_prompts_are_those_that_each_gets_alone(speaking: Any) -> None:
    together = generate_texts(speaking.dir, PROMPTS, Settings(seed=3))
    alone = [
        generate_texts(speaking.dir, [prompt], Settings(seed=3 + row)) for row, prompt in enumerate(PROMPTS)
    ]
    assert together["texts"] == [result["texts"][0] for result in alone]
    assert together["step"] == open_weights(speaking.dir).step


@pytest.mark.parametrize("how", [GREEDY, Settings(beams=3, max_tokens=15)])
def test_a_text_ends_before_the_first_stop_string(speaking: Any, how: Any) -> None:
    (free,) = generate_texts(speaking.dir, ["the"], how)["texts"]
    middle = free["text"][4:7]
    (stopped,) = generate_texts(speaking.dir, ["the"], replace(how, stops=("\x00never", middle)))["texts"]
    assert stopped["text"] == free["text"][: free["text"].index(middle)]
    if how is GREEDY:
        assert stopped["tokens"] < free["tokens"]


def test_the_command_takes_every_option(speaking: Any) -> None:
    def run(*options: str) -> Any:
        command = [
            sys.executable,
            "-m",
            "pipeline.cli.main",
            "generate",
            str(speaking.dir),
            "--json",
            *options,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    options = "--prompt the --prompt a --max-tokens 5 --temperature .7 --top-k 9 --top-p .9 --seed 4"
    drawn = run(*options.split(), "--stop", "\n")
    assert drawn.returncode == 0, drawn.stderr
    expected = generate_texts(
        speaking.dir,
        ["the", "a"],
        Settings(max_tokens=5, temperature=0.7, top_k=9, top_p=0.9, seed=4, stops=("\n",)),
    )
    assert json.loads(drawn.stdout) == {"run": str(speaking.dir), **expected}
    searched = run("--beams", "2", "--length-penalty", "0", "--max-tokens", "5")
    expected = generate_texts(speaking.dir, [""], Settings(max_tokens=5, beams=2, length_penalty=0))
    assert json.loads(searched.stdout)["texts"] == expected["texts"]
    refused = run("--top-p", "7")
    assert (refused.returncode, "top_p is 7.0" in refused.stderr) == (2, True)
    assert "Traceback" not in refused.stderr


def test_texts_go_to_weights_and_biases_or_stay_in_the_run_until_they_can(
    speaking: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(speaking.dir, run)
    words = ("generate", run, "--prompt", "the", "--preset", "gpt2", "--max-tokens", 5, "--log-wandb")
    with wandb.serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        (text,) = cli.result(*words)["texts"]
        (line,) = [line for line in server.run.history if "generated" in line]
        assert line["step"] == open_weights(run).step
        rows = json.loads(server.files[line["generated"]["path"]])["data"]
    how = "temperature 1.0, top-k 40, max-tokens 5, seed 0"
    assert rows == [[how, "the", text["text"]]]
    away = cli.run(*words, "--seed", 1)
    assert away.returncode == 1
    assert re.search(r"the texts are in \S+step-\d+-\w+\.jsonl, and `outbound wandb-sync", away.stderr)
    assert len([*(run / "generated").iterdir()]) == 2
    refused = cli.run("generate", tmp_path, "--log-wandb")
    assert (refused.returncode, "is no training run" in refused.stderr) == (2, True)


def test_transformers_writes_what_the_run_writes(speaking: Any, tmp_path: Path) -> None:
    import transformers

    result = export(speaking.dir, tmp_path / "out")
    assert result["class"] == "GPT2LMHeadModel"
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    spoken = tokenizer.load(speaking.dir / "tokenizer")
    for kind in (transformers.AutoTokenizer, transformers.GPT2Tokenizer):
        theirs = kind.from_pretrained(tmp_path / "out")
        for text in (*PROMPTS, "élan 😀\n\n  x", "<|endoftext"):
            assert theirs(text)["input_ids"] == spoken.encode(text), (kind, text)
        assert theirs.eos_token_id == spoken.eot
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    asked = theirs(PROMPTS[0], return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**asked, max_new_tokens=15, do_sample=False, pad_token_id=0)
    (ours,) = generate_texts(speaking.dir, PROMPTS[:1], GREEDY)["texts"]
    assert theirs.decode(written[0, asked["input_ids"].size(1) :], skip_special_tokens=True) == ours["text"]


def test_the_hub_s_parser_reads_the_model_card_of_an_export(speaking: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(speaking.dir, run)
    step = open_weights(run).step or 0
    folder = run / "evaluations" / f"step-{step:08}" / "all"
    results = evaluations.write(folder, [evaluations.outcome(), evaluations.lambada()], step=step)
    exported = Path(cli.result("export", run, "-o", tmp_path / "out")["directory"])
    card = ModelCard.load(exported / "README.md")
    assert (card.data.license, card.data.pipeline_tag) == ("unknown", "text-generation")
    found = {(each.dataset_name, each.metric_type): each.metric_value for each in card.data.eval_results}
    assert found == {(score.task, score.measure): score.value for score in results.scores if score.main}
    assert found.keys() == {("hellaswag", "acc"), ("lambada", "perplexity")}
    assert "| hellaswag | 0 | paper | acc | 0.75 |" in card.text
    assert "| links | submissions | 9 | 7 | merged 2 |" in card.text
    assert "- **none**; texts of evaluation sets may have been trained on." in card.text
    state = open_weights(run).state
    assert state is not None
    assert f"| tokens trained on | {state.tokens:,} |" in card.text
    assert f"| held-out loss | {state.val_loss:.4f} nats a token |" in card.text
    assert yaml.safe_load(card.text.split("```yaml")[1].split("```")[0])["model"] == state.config["model"]
    assert str(speaking.home) not in card.text, "a path of this machine is nobody's business"
    files = {path.name: hash_file(path) for path in exported.iterdir() if path.name != "README.md"}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files.keys()
    assert all(f"| {name} |" in card.text and digest in card.text for name, digest in files.items())


def test_a_card_without_an_evaluation_or_a_funnel_states_so(speaking: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(speaking.dir, run)
    for path in run.glob("attempts/*/funnel.json"):
        path.unlink()
    cli.result("export", run, "-o", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.eval_results is None
    assert "`outbound eval` had measured nothing of this model" in card.text
    assert "Unknown: the tokens had no funnel of a corpus beside them." in card.text
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (tmp_path / "out" / name).unlink()
    cli.result("export", tmp_path / "out", "-o", tmp_path / "again")
    assert "Not a run of Outbound's" in ModelCard.load(tmp_path / "again" / "README.md").text


@pytest.mark.parametrize("without", [[], ["vocab.json", "merges.txt"], ["tokenizer.json"]])
def test_an_export_writes_the_same_as_its_run(speaking: Any, tmp_path: Path, without: list[str]) -> None:
    export(speaking.dir, tmp_path / "out")
    for name in without:
        (tmp_path / "out" / name).unlink()
    ours, theirs = (generate_texts(where, PROMPTS, GREEDY) for where in (speaking.dir, tmp_path / "out"))
    assert theirs["texts"] == ours["texts"]
    assert theirs["step"] is None


def test_an_export_can_be_exported_again(speaking: Any, tmp_path: Path) -> None:
    """As released weights can, whose tokenizer is in Hugging Face's files alone."""
    first, second = tmp_path / "first", tmp_path / "second"
    export(speaking.dir, first)
    result = export(first, second)
    assert (result["class"], result["tokenizer"]) == ("GPT2LMHeadModel", True)
    for name in ("model.safetensors", "tokenizer.json", "merges.txt", "vocab.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_an_export_never_replaces_a_directory(speaking: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="taken: exists: choose another directory"):
        export(speaking.dir, tmp_path / "taken")


def test_an_export_that_may_not_be_written_is_named_as_it_was_given(speaking: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, why in {"/sys/out": "/sys/out: ", str(tmp_path / "file" / "out"): "is a file"}.items():
        with pytest.raises(OSError, match=re.escape(place)) as raised:
            export(speaking.dir, Path(place))
        assert why in str(explain_os_error(raised.value))
        assert "writing-" not in str(explain_os_error(raised.value))


def test_a_model_that_transformers_cannot_compute_leaves_nothing_behind(
    speaking: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_weights(speaking.dir)
    banded = replace(opened, config=replace(opened.config, attention=("dense", "banded:4")))
    monkeypatch.setattr("pipeline.inference.export.open_weights", lambda where: banded)
    with pytest.raises(UsageError, match=r"layer 1 has banded attention \(4 tokens\)"):
        export(speaking.dir, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_run_begins_with_another_models_weights_and_takes_its_shape(speaking: Any, tmp_path: Path) -> None:
    export(speaking.dir, tmp_path / "out")
    run = type(speaking).make(speaking.home, "continued")
    run.settings["model"] = {"dropout": 0.0}
    # Without a learning rate to speak of, the held-out loss stays that of the weights it began with.
    slow = ("optimizer.lr=1e-12", "train.tokens=128", "schedule.warmup_tokens=0")
    run.train(f"run.init_from={tmp_path / 'out'}", *slow)
    summary, began = run.summary(), speaking.summary()
    assert summary["val_loss"] == pytest.approx(began["val_loss"], abs=1e-5)
    assert summary["steps"] == 1
    shutil.rmtree(tmp_path / "out")
    config, _ = load_config(run.home / "continued.yaml", [f"run.init_from={tmp_path / 'out'}", *slow])
    assert config.model.n_ctx == 32, "a run that has begun needs its start no more"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.n_layer=3", "model.n_layer .*: 3 is not 2, which .*run has: it is another model"),
        (
            "run.init_from=nowhere",
            "nowhere: no model to begin with: expected a run, or a directory with config",
        ),
        ("run.init_from=OTHER", "OTHER learned with another tokenizer than .*: pack the text again"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_anything_starts(
    speaking: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    export(speaking.dir, tmp_path / "OTHER")
    train_tokenizer(["some other text for some other merges, over and over again. " * 30], 300, Path("other"))
    for ours, theirs in (("vocab.bpe", "merges.txt"), ("encoder.json", "vocab.json")):
        shutil.copyfile(tmp_path / "other" / ours, tmp_path / "OTHER" / theirs)
    settings = {**speaking.settings, "model": {}, "run": {"dir": "new", "init_from": str(speaking.dir)}}
    Path("run.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UsageError, match=said):
        load_config(Path("run.yaml"), [override])


def test_a_model_without_a_tokenizer_is_not_asked_to_speak(speaking: Any, tmp_path: Path) -> None:
    export(speaking.dir, tmp_path / "out")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (tmp_path / "out" / name).unlink()
    with pytest.raises(RunError, match="has no tokenizer: copy"):
        generate_texts(tmp_path / "out", ["a"], GREEDY)
