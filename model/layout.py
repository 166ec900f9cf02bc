"""Matrices in memory: row after row, as torch makes them, or column after column, for few rows on a CPU."""

from __future__ import annotations

from dataclasses import replace

import torch

from model.gpt import GPT

READ_BY_ROW = ("wte.weight", "wpe.weight")


def for_decoding(model: GPT) -> GPT:
    """The same model, faster for few rows of one token on a CPU (`benchmarks/README.md`, "Generation").

    Its matrices are copies, stored column after column; it shares all else with `model`. A tied head gets a
    matrix of its own, since rows of the embedding are read one by one. On another device, or in another type
    than fp32, it is `model` itself: no gain was measured there.
    """
    parameters = dict(model.named_parameters())
    if any(value.device.type != "cpu" or value.dtype != torch.float32 for value in parameters.values()):
        return model
    parameters.setdefault("head.weight", parameters["wte.weight"])
    with torch.device("meta"):
        copy = GPT(replace(model.config, tied=False))
    with torch.no_grad():
        copy.load_state_dict(
            {
                name: value if value.dim() < 2 or name in READ_BY_ROW else value.T.contiguous().T
                for name, value in parameters.items()
            },
            assign=True,
        )
    return copy.eval()
