"""The GPT: embeddings, a stack of blocks, a head. Everything it can be is in GPTConfig."""

from __future__ import annotations

from torch import Tensor, nn

from model.attention import KVCache
from model.branches import Branches
from model.config import GPTConfig
from model.embedding import embed_sharing, project
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

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (batch, time, padded_vocab) for the token that follows each of `tokens` (batch, time) int64.

        With targets (batch, time) int64, their mean loss in nats (`model.loss`): a scalar.
        """
        if targets is None or self.head is not None:
            return self.project(self.hidden(tokens), targets)
        hidden, path = embed_sharing(self.wte, tokens)  # one gradient for both roles of the matrix
        return project(self.wte, self._stack(hidden), targets, path)

    def hidden(
        self, tokens: Tensor, caches: list[KVCache] | None = None, branches: Branches | None = None
    ) -> Tensor:
        """What the head sees: (batch, time, d_model). With caches, one a block, `tokens` continue theirs;
        with branches, the rows are trees."""
        return self._stack(self.wte(tokens), caches, branches)

    def _stack(
        self, embedded: Tensor, caches: list[KVCache] | None = None, branches: Branches | None = None
    ) -> Tensor:
        positions = branches.depth if branches else caches[0].positions if caches else None
        hidden: Tensor = self.wpe(embedded, positions)
        for index, block in enumerate(self.h):
            hidden = block(hidden, caches[index] if caches else None, branches)
        return self.ln_f(hidden)  # type: ignore[no-any-return]

    def project(self, hidden: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits of hidden states, or their loss."""
        return project(self.head or self.wte, hidden, targets)
