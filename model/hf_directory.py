"""A model directory of Hugging Face's without its tensors: its `config.json`, and which files count."""

from __future__ import annotations

import json
from pathlib import Path

from model.config import GPTConfig

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
CLASSES = {"gpt2": "GPT2LMHeadModel", "openai-gpt": "OpenAIGPTLMHeadModel"}
"""`model_type` of a directory that can be read -> the class of transformers."""

_TANH_GELU = {"gpt2": {"gelu_new", "gelu_pytorch_tanh"}, "openai-gpt": {"gelu", "gelu_new"}}
"""Names of the tanh form; to OpenAIGPT plain "gelu" is one (modeling_openai.ACT_FNS)."""
_SUPPORTED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
"""Settings of GPT-2's class that change the computation, and the one value that ours has."""


def read_config(directory: Path) -> GPTConfig:
    """Describe the model of a directory.

    Raises ValueError that names the file and value, when it is not one of the two kinds.
    """
    path = directory / CONFIG
    try:
        settings = json.loads(path.read_bytes())
        kind = settings["model_type"]
        if kind not in CLASSES:
            raise ValueError(f"model_type is {kind!r}: only {' and '.join(CLASSES)} can be read")
        act = settings.get(
            *(("afn", "gelu") if kind == "openai-gpt" else ("activation_function", "gelu_new"))
        )
        if act not in _TANH_GELU[kind]:
            raise ValueError(f"activation {act!r}: only GELU in its tanh form ({_TANH_GELU[kind]}) is built")
        for name, value in _SUPPORTED.items():
            if settings.get(name, value) != value:
                raise ValueError(f"{name} is {settings[name]}: only {value} is built")
        sizes = {name: int(settings[name]) for name in ("n_layer", "n_head", "n_positions", "n_embd")}
        return GPTConfig(
            n_layer=sizes["n_layer"],
            n_head=sizes["n_head"],
            d_model=sizes["n_embd"],
            n_ctx=sizes["n_positions"],
            vocab_size=int(settings["vocab_size"]),
            d_ff=settings.get("n_inner"),
            norm="pre" if kind == "gpt2" else "post",
            tied=bool(settings.get("tie_word_embeddings", True)),
            dropout=float(settings.get("resid_pdrop", 0.1)),
            norm_eps=float(settings.get("layer_norm_epsilon", 1e-5)),
            init_std=float(settings.get("initializer_range", 0.02)),
        )
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]} is missing: is it the config.json of a GPT?") from None
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def tensor_files(directory: Path) -> list[Path]:
    """The files that hold its tensors. Raises ValueError when there are none, or only pickles."""
    if (directory / SINGLE).is_file():
        return [directory / SINGLE]
    if (directory / INDEX).is_file():
        try:
            files = set(json.loads((directory / INDEX).read_bytes())["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{directory / INDEX}: no index of safetensors files: {error!r}") from None
        if strange := [file for file in files if Path(str(file)).name != file]:
            raise ValueError(f"{directory / INDEX}: {strange[0]!r} is no file of this directory")
        return [directory / file for file in sorted(files)]
    pickled = next((path.name for kind in PICKLES for path in sorted(directory.glob(kind))), None)
    if pickled:
        raise ValueError(
            f"{directory / pickled}: never loaded, since a pickle can execute what a stranger wrote: get "
            f"the model as {SINGLE}, or, if you trust the file, write that with transformers: "
            "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)"
        )
    raise ValueError(f"{directory}: neither {SINGLE} nor {INDEX} is there")
