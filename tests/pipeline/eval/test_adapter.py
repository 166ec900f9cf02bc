"""lm-eval's own `simple_evaluate` gets of our model what it gets of Hugging Face's with the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dataprep.tokenizer import gpt2_files
from dataprep.tokenizer import tokenizer as tokenizers
from model import GPT, GPTConfig
from model.init import initialise
from pipeline.errors import RunError
from support.hf_directory import write as write_hf

pytestmark = pytest.mark.slow(12)

ROWS = [
    {
        "text": f"the {n} small rivers that lead to the sea",
        "choices": ["are long", "sing a song of a sea"],
        "label": n % 2,
    }
    for n in range(8)
]


def task(kind: str, **fields: Any) -> dict[str, Any]:
    import datasets

    return {
        "task": kind,
        "output_type": kind,
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(ROWS)},
        "test_split": "test",
        "fewshot_split": "test",
        "doc_to_text": "{{text}}",
        **fields,
    }


def tasks() -> list[dict[str, Any]]:
    return [
        task(
            "multiple_choice",
            doc_to_choice="choices",
            doc_to_target="label",
            metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "brier_score"}],
        ),
        task(
            "loglikelihood_rolling",
            doc_to_text="",
            doc_to_target="{{text * 9}}",
            metric_list=[{"metric": "byte_perplexity"}],
        ),
        task(
            "generate_until",
            doc_to_target="{{text}}",
            generation_kwargs={"until": ["e", "\n"], "max_gen_toks": 12},
            metric_list=[{"metric": "exact_match"}],
        ),
    ]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights and GPT-2's way of making tokens, as Hugging Face's files."""
    bpe, directory = tmp_path_factory.mktemp("bpe"), tmp_path_factory.mktemp("hf")
    gpt2_files.write(bpe, ["t h", "th e", "s e"])
    tokenizer = tokenizers.load(bpe)
    config = GPTConfig(n_layer=2, n_head=2, d_model=32, n_ctx=64, vocab_size=tokenizer.vocab_size)
    model = GPT(config)
    initialise(model.named_parameters(), config, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that some tokens are clearly the likeliest
    write_hf(model, directory, tokenizer.eot)
    (directory / "tokenizer.json").write_text(tokenizer.huggingface())
    return directory


def answers(lm: Any, shots: int) -> tuple[dict[str, Any], dict[str, Any]]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    none = TaskManager(include_defaults=False)  # an index of lm-eval's own tasks takes 20 s
    chosen = tasks() if not shots else tasks()[:1]
    found = simple_evaluate(lm, tasks=chosen, num_fewshot=shots, bootstrap_iters=0, task_manager=none)
    assert found is not None
    responses = {name: [row["filtered_resps"] for row in rows] for name, rows in found["samples"].items()}
    return found["results"], responses


@pytest.mark.parametrize("shots", [0, 1])
def test_scores_and_texts_are_those_of_lm_evals_own_model(directory: Path, shots: int) -> None:
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from pipeline.eval.adapter import OutboundLM

    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), eos_token="<|endoftext|>"
    )
    theirs = HFLM(
        AutoModelForCausalLM.from_pretrained(directory), tokenizer=fast, device="cpu", logits_cache=False
    )
    results, responses = answers(OutboundLM(directory), shots)
    expected, wanted = answers(theirs, shots)
    assert responses.keys() == wanted.keys()
    for name in wanted:
        for ours, other in zip(responses[name], wanted[name], strict=True):
            if name == "multiple_choice":
                assert [greedy for _, greedy in ours] == [greedy for _, greedy in other]
                assert [score for score, _ in ours] == pytest.approx([score for score, _ in other], rel=1e-5)
            else:
                assert ours == (other if name == "generate_until" else pytest.approx(other, rel=1e-5))
        for metric, value in expected[name].items():
            assert results[name][metric] == (
                pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
            )


def test_a_model_without_a_tokenizer_is_refused(directory: Path, tmp_path: Path) -> None:
    from pipeline.eval.adapter import OutboundLM

    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((directory / name).read_bytes())
    with pytest.raises(RunError, match="has no tokenizer"):
        OutboundLM(tmp_path)
