"""The papers' models by name.

GPT-1: Radford et al. 2018, section 4.1. GPT-2: Radford et al. 2019, table 2, with the sizes that the
released weights have (the paper's 117M, 345M, 762M and 1542M are a miscount: 124M, 355M, 774M and 1558M).
GPT-3: Brown et al. 2020, table 2.1. Where that table contradicts itself:

- XL lists 24 heads of 128 for a width of 2048. Here: 16 heads of 128, which gives the table's 1.3B
  parameters; 24 heads of 128 would give 1.5B.
- 13B lists a width of 5140 and 40 heads of 128, which is 5120. Here: 5120.

GPT-3 alternates "dense and locally banded sparse attention" (section 2.1) and publishes no band width.
Here: 256 tokens, an eighth of the context. Dropout is GPT-1's alone; the later papers name none.
"""

from __future__ import annotations

from model.config import GPTConfig

BAND = "banded:256"


def _gpt2(n_layer: int, n_head: int, d_model: int) -> GPTConfig:
    return GPTConfig(n_layer=n_layer, n_head=n_head, d_model=d_model, n_ctx=1024, vocab_size=50257)


def _gpt3(n_layer: int, n_head: int, d_model: int) -> GPTConfig:
    return GPTConfig(
        n_layer=n_layer,
        n_head=n_head,
        d_model=d_model,
        n_ctx=2048,
        vocab_size=50257,
        attention=("dense", BAND),
    )


PRESETS: dict[str, GPTConfig] = {
    "gpt1": GPTConfig(
        n_layer=12,
        n_head=12,
        d_model=768,
        n_ctx=512,
        vocab_size=40478,  # 40,000 merges and the 478 symbols that they start from
        norm="post",
        dropout=0.1,
        position_init_std=0.02,
        residual_scaling=False,
    ),
    "gpt2-small": _gpt2(12, 12, 768),
    "gpt2-medium": _gpt2(24, 16, 1024),
    "gpt2-large": _gpt2(36, 20, 1280),
    "gpt2-xl": _gpt2(48, 25, 1600),
    "gpt3-small": _gpt3(12, 12, 768),
    "gpt3-medium": _gpt3(24, 16, 1024),
    "gpt3-large": _gpt3(24, 16, 1536),
    "gpt3-xl": _gpt3(24, 16, 2048),
    "gpt3-2.7b": _gpt3(32, 32, 2560),
    "gpt3-6.7b": _gpt3(32, 32, 4096),
    "gpt3-13b": _gpt3(40, 40, 5120),
    "gpt3-175b": _gpt3(96, 96, 12288),
}
