"""Hugging Face's classes compute the same logits, from our weights and with theirs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model import GPT, GPTConfig, hf, hf_directory
from model.names import padded, unpadded
from support.hf_directory import write as write_hf

LAYOUTS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt2, untied and narrow": {"tied": False, "d_ff": 40, "norm_eps": 1e-3},
    "gpt1": {"norm": "post"},
    "gpt1, untied": {"norm": "post", "tied": False},
    "a band as wide as the context": {"attention": ("dense", "banded:24")},
}
TOKENS = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(0))


def exported(model: GPT, directory: Path, eot: int | None = None) -> Path:
    directory.mkdir()
    return write_hf(model, directory, eot)


def imported(directory: Path) -> GPT:
    weights = hf.HFWeights.open(directory)
    model = GPT(weights.config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(padded(name, weights.tensor(name), weights.config))
    return model.eval()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        out = model(TOKENS)
    return out[..., :61] if isinstance(out, Tensor) else out.logits


@pytest.mark.slow(1)
@pytest.mark.parametrize("fields", LAYOUTS.values(), ids=list(LAYOUTS))
def test_transformers_computes_our_logits_from_our_weights(
    make_model: Callable[..., GPT], tmp_path: Path, fields: dict[str, Any]
) -> None:
    import transformers

    model = make_model(**fields).eval()
    randomise(model)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        exported(model, tmp_path / "out", eot=60)
    ).eval()
    assert type(theirs).__name__ == (
        "GPT2LMHeadModel" if model.config.norm == "pre" else "OpenAIGPTLMHeadModel"
    )
    torch.testing.assert_close(logits(theirs), logits(model), rtol=0, atol=1e-5)
    assert theirs.config.eos_token_id == 60
    assert sum(p.numel() for p in theirs.parameters()) == hf_count(model)


@pytest.mark.slow(1)
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("kind", ["gpt2", "gpt2-untied", "openai-gpt"])
def test_our_gpt_computes_their_logits_from_their_weights(tmp_path: Path, kind: str, sharded: bool) -> None:
    theirs = theirs_of(kind)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB" if sharded else "1GB")
    assert (tmp_path / hf_directory.INDEX).exists() == sharded
    torch.testing.assert_close(logits(imported(tmp_path)), logits(theirs), rtol=0, atol=1e-5)


def test_the_released_files_are_read_whose_names_have_no_prefix_and_hold_masks(tmp_path: Path) -> None:
    theirs = theirs_of("gpt2")
    theirs.save_pretrained(tmp_path)
    held = load_file(tmp_path / hf_directory.SINGLE)
    bare = {name.removeprefix("transformer."): value.half() for name, value in held.items()}
    save_file({**bare, "h.0.attn.bias": torch.ones(1, 1, 24, 24)}, tmp_path / hf_directory.SINGLE)
    half = theirs.half().float()
    torch.testing.assert_close(logits(imported(tmp_path)), logits(half), rtol=0, atol=1e-5)


def test_an_export_in_several_files_is_the_same_model(
    make_model: Callable[..., GPT], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    monkeypatch.setattr(hf, "LARGEST_FILE", 6_000)
    model = make_model().eval()
    directory = exported(model, tmp_path / "out")
    sizes = [path.stat().st_size for path in directory.glob("*.safetensors")]
    assert len(sizes) > 3
    theirs = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    torch.testing.assert_close(logits(theirs), logits(model), rtol=0, atol=1e-5)
    assert torch.equal(logits(imported(directory)), logits(model))


@pytest.mark.parametrize("fields", [{}, {"norm": "post"}, {"tied": False, "d_ff": 40, "dropout": 0.2}])
def test_what_is_exported_comes_back_to_the_last_bit(
    make_model: Callable[..., GPT], tmp_path: Path, fields: dict[str, Any]
) -> None:
    model = make_model(**fields)
    back = imported(exported(model, tmp_path / "out"))
    assert back.config == model.config
    for (name, ours), (_, theirs) in zip(model.named_parameters(), back.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_all_three_kinds_of_dropout_are_exported(norm: str) -> None:
    sizes = {"n_layer": 1, "n_head": 2, "d_model": 16, "n_ctx": 24, "vocab_size": 61}
    described = hf.to_hf_config(GPTConfig(**sizes, norm=norm, dropout=0.2))
    assert {name: value for name, value in described.items() if name.endswith("pdrop")} == {
        "resid_pdrop": 0.2,
        "embd_pdrop": 0.2,
        "attn_pdrop": 0.2,
    }
    assert (described["layer_norm_epsilon"], described["initializer_range"]) == (1e-5, 0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"attention": ("dense", "banded:5")},
            "layer 1 has banded attention (5 tokens), and no model of HF's",
        ),
        ({"d_head": 12}, "2 heads of 12 are not d_model 16"),
        ({"norm": "post", "d_ff": 40}, "d_ff 40: OpenAIGPTLMHeadModel has 4 * d_model = 64"),
    ],
)
def test_a_model_that_transformers_cannot_compute_is_not_exported(change: dict[str, Any], said: str) -> None:
    config = replace(GPTConfig(n_layer=3, n_head=2, d_model=16, n_ctx=24, vocab_size=61), **change)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (compared below)
        hf.to_hf_config(config)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "llama"}, "model_type is 'llama': only gpt2 and openai-gpt can be read"),
        ({"activation_function": "gelu"}, "only GELU in its tanh form"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True: only False"),
        ({"n_layer": None}, "config.json: "),
        ({"n_head": 3}, "does not divide into 3 heads"),
        ({"n_embd": 32}, "but config.json means"),
        ({"n_layer": 4}, "no tensor 'transformer.h.3."),
    ],
)
def test_a_config_that_is_another_models_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    theirs_of("gpt2").save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(described | change))
    with pytest.raises(ValueError, match=r"config\.json|safetensors|no tensor") as refusal:
        hf.HFWeights.open(tmp_path)
    assert said in str(refusal.value)


class Trap:
    """Pickled, it would write a file on being loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_loaded_and_the_remedy_is_named(tmp_path: Path) -> None:
    theirs_of("gpt2").save_pretrained(tmp_path)
    (tmp_path / hf_directory.SINGLE).unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
    with pytest.raises(ValueError, match=r"pytorch_model.bin: never loaded.*save_pretrained"):
        hf.HFWeights.open(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(
        tmp_path / hf_directory.SINGLE
    )  # nor by the name of another format
    with pytest.raises(ValueError, match="not readable as safetensors"):
        hf.HFWeights.open(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_an_index_names_no_file_of_another_directory(tmp_path: Path) -> None:
    theirs_of("gpt2").save_pretrained(tmp_path)
    (tmp_path / hf_directory.SINGLE).unlink()
    (tmp_path / hf_directory.INDEX).write_text(
        json.dumps({"weight_map": {"wte.weight": "../secret.safetensors"}})
    )
    with pytest.raises(ValueError, match="is no file of this directory"):
        hf.HFWeights.open(tmp_path)


def theirs_of(kind: str) -> Any:
    """A small random model of theirs, whose biases and gains are random too."""
    import transformers

    torch.manual_seed(1)
    sizes = {"n_layer": 3, "n_head": 2, "n_embd": 16, "n_positions": 24, "vocab_size": 61}
    if kind == "openai-gpt":
        model = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**sizes))
    else:
        config = transformers.GPT2Config(
            **sizes, bos_token_id=60, eos_token_id=60, tie_word_embeddings=kind == "gpt2"
        )
        model = transformers.GPT2LMHeadModel(config)
    randomise(model)
    return model.eval()


def randomise(model: torch.nn.Module) -> None:
    """No value may stand for another: gains and biases too."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.2 * torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(noise)
            else:
                parameter.copy_(noise)
            if name in ("wte.weight", "head.weight"):
                parameter[61:] = 0


def hf_count(model: GPT) -> int:
    """Parameters without padding."""
    return sum(unpadded(name, value, model.config).numel() for name, value in model.named_parameters())
