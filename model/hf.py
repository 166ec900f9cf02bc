"""Hugging Face's model directories, both ways: `config.json` and safetensors, without transformers.

GPT-2's layout is `GPT2LMHeadModel`, GPT-1's is `OpenAIGPTLMHeadModel`. Both keep the linear layers of a block
as "Conv1D", a matrix that is the transpose of torch's. Our pre-norm models become the first, post-norm ones
the second. Neither has banded layers or heads of a free width.

Only safetensors are read, never pickles: opening a stranger's directory executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import GPTConfig
from model.gpt import GPT
from model.hf_directory import CLASSES, CONFIG, INDEX, SINGLE, read_config, tensor_files
from model.names import PADDED

LARGEST_FILE = 5 * 10**9
"""Bytes of tensors in one file of an export: what stands in memory at once."""

_MODEL_TYPE = {"pre": "gpt2", "post": "openai-gpt"}


@dataclass(frozen=True)
class HFWeights:
    """An open directory; tensors are read one by one."""

    config: GPTConfig
    _places: dict[str, tuple[Path, str]]
    """Canonical name -> the file that holds it, and its name there."""

    @staticmethod
    def open(directory: Path) -> HFWeights:
        """Find every tensor of the model, and compare shapes. Raises ValueError for what does not fit."""
        config = read_config(directory)
        held = dict(_tensors_of(directory))
        places = {}
        for name, shape in _shapes(config).items():
            theirs = hf_name(name, config)
            # The released files name tensors without the prefix of the class with a head.
            found = next((n for n in (theirs, theirs.removeprefix("transformer.")) if n in held), None)
            if found is None:
                raise ValueError(f"{directory}: no tensor {theirs!r}: is it another model's file?")
            path, shape_there = held[found]
            expected = shape[::-1] if _is_conv1d(name) else shape
            if shape_there != expected:
                raise ValueError(f"{path}: {found} is {shape_there}, but {CONFIG} means {expected}")
            places[name] = path, found
        return HFWeights(config, places)

    def tensor(self, name: str) -> Tensor:
        """Read one parameter by canonical name: whole, unpadded, fp32."""
        path, theirs = self._places[name]
        with safe_open(path, framework="pt") as file:
            value: Tensor = file.get_tensor(theirs).float()
        return value.T.contiguous() if _is_conv1d(name) else value


def write(
    config: GPTConfig, tensor: Callable[[str], Tensor], directory: Path, eot: int | None = None
) -> None:
    """Write a model into an existing directory; `tensor` gives parameters, unpadded, by canonical name.

    `eot` begins and ends texts. Raises ValueError for a model that neither class can compute.
    """
    described = to_hf_config(config, eot)
    (directory / CONFIG).write_text(json.dumps(described, indent=2) + "\n")
    write_tensors(config, tensor, _shapes(config), directory)


def write_tensors(
    config: GPTConfig,
    tensor: Callable[[str], Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    directory: Path,
) -> None:
    """Write safetensors alone: the tensors of `shapes`, by canonical name, under HF's names."""
    sizes = {name: 4 * _count(shape) for name, shape in shapes.items()}
    files = _split(sizes)
    placed: dict[str, str] = {}
    for number, names in enumerate(files, 1):
        file = SINGLE if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        content = {}
        for name in names:
            value = tensor(name).float()
            content[hf_name(name, config)] = (value.T if _is_conv1d(name) else value).contiguous()
        save_file(content, directory / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(content, file)
    if len(files) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": placed}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def to_hf_config(config: GPTConfig, eot: int | None = None) -> dict[str, Any]:
    """Say in the words of config.json what a model is. Raises ValueError for what has none there."""
    kind = _MODEL_TYPE[config.norm]
    bands = [config.band(layer) for layer in range(config.n_layer)]
    if banded := [layer for layer, band in enumerate(bands) if band is not None and band < config.n_ctx]:
        raise ValueError(
            f"layer {banded[0]} has banded attention ({bands[banded[0]]} tokens), and no model of HF's "
            "computes GPT-3's dense and banded layers: use the run itself (`outbound generate`), "
            "or train with model.attention=[dense]"
        )
    if config.n_head * config.head_width != config.d_model:
        raise ValueError(
            f"{config.n_head} heads of {config.head_width} are not d_model {config.d_model}: "
            f"{CLASSES[kind]} has no heads of a free width"
        )
    if kind == "openai-gpt" and config.ff_width != 4 * config.d_model:
        raise ValueError(f"d_ff {config.ff_width}: {CLASSES[kind]} has 4 * d_model = {4 * config.d_model}")
    special: dict[str, dict[str, Any]] = {
        "gpt2": {"activation_function": "gelu_new", "n_inner": config.d_ff},
        "openai-gpt": {"afn": "gelu"},
    }
    return {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "torch_dtype": "float32",
        "vocab_size": config.vocab_size,
        "n_positions": config.n_ctx,
        "n_embd": config.d_model,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "layer_norm_epsilon": config.norm_eps,
        "initializer_range": config.init_std,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "tie_word_embeddings": config.tied,
        "bos_token_id": eot,
        "eos_token_id": eot,
        **special[kind],
    }


def hf_name(name: str, config: GPTConfig) -> str:
    """Translate a canonical name to that of HF's class.

    >>> sizes = {"n_layer": 4, "n_head": 2, "d_model": 8, "n_ctx": 16, "vocab_size": 50}
    >>> hf_name("h.3.attn.qkv.weight", GPTConfig(**sizes))
    'transformer.h.3.attn.c_attn.weight'
    >>> hf_name("wte.weight", GPTConfig(**sizes, norm="post"))
    'transformer.tokens_embed.weight'
    """
    if name in ("head.weight", "score.weight"):
        return name.replace("head", "lm_head")
    for ours, theirs in ((".qkv.", ".c_attn."), (".proj.", ".c_proj."), (".fc.", ".c_fc.")):
        name = name.replace(ours, theirs)
    if config.norm == "post":
        name = {"wte.weight": "tokens_embed.weight", "wpe.weight": "positions_embed.weight"}.get(name, name)
    return f"transformer.{name}"


def _is_conv1d(name: str) -> bool:
    return name.endswith(("qkv.weight", "proj.weight", "fc.weight"))


def _shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape without padding, of every parameter."""
    with torch.device("meta"):
        parameters = GPT(config).named_parameters()
    return {
        name: (config.vocab_size, *value.shape[1:]) if name in PADDED else tuple(value.shape)
        for name, value in parameters
    }


def _tensors_of(directory: Path) -> Iterator[tuple[str, tuple[Path, tuple[int, ...]]]]:
    """Yield the name of every tensor, with its file and shape."""
    for path in tensor_files(directory):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (no dict: it has no __iter__)
                    yield name, (path, tuple(file.get_slice(name).get_shape()))
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path}: not readable as safetensors ({error}): fetch it again") from None


def _split(sizes: dict[str, int]) -> list[list[str]]:
    """Group names, in order, into files of at most LARGEST_FILE bytes, or of one tensor."""
    files: list[list[str]] = [[]]
    room = LARGEST_FILE
    for name, size in sizes.items():
        if size > room and files[-1]:
            files.append([])
            room = LARGEST_FILE
        files[-1].append(name)
        room -= size
    return files


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()
