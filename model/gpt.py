"""The GPT: embeddings, a stack of blocks, a head. Everything it can be is in GPTConfig."""

from __future__ import annotations

from torch import Tensor, nn

from model.attention import KVCache
from model.config import GPTConfig
from model.embedding import project
from model.layers import layers


class GPT(nn.Module):
    """A dense GPT: all layers in one module. The pipeline engine builds the same list of layers over stages.

    Its parameters are not initialised: `model.init.initialise` or a checkpoint fills them.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        # A tied head has no module of its own.
        modules = {layer.name: layer.build() for layer in layers(config) if layer.name == layer.owner}
        self.wte = modules["wte"]
        self.wpe = modules["wpe"]
        self.h = nn.ModuleList(modules[f"h.{index}"] for index in range(config.n_layer))
        self.ln_f = modules.get("ln_f", nn.Identity())
        self.head = modules.get("head")

    def forward(self, tokens: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """Logits (batch, time, padded_vocab) for the token that follows each of `tokens` (batch, time) int64.

        With caches, one a block, `tokens` continue those that the caches have seen.
        """
        start = caches[0].seen if caches else 0
        hidden: Tensor = self.wpe(self.wte(tokens), start)
        for index, block in enumerate(self.h):
            hidden = block(hidden, caches[index] if caches else None)
        hidden = self.ln_f(hidden)
        return project(self.head or self.wte, hidden)
