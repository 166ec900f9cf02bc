"""A GPT with a linear head over the state at the last token of a text (Radford et al. 2018, section 3.2).

An example is one sequence of ids or several. Of a pair in both orders the states are added before the head;
of the answers to a question each gets a logit of its own. A sequence is padded on the right: no real token
looks there, so there is no mask.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from model.config import GPTConfig
from model.gpt import GPT
from model.keyed_dropout import KeyedDropout
from model.loss import weighted_loss

HEAD = "classifier."
"""Begins the head's canonical names; all others are the GPT's own."""


class Classifier(nn.Module):
    """A GPT, and a linear layer from the state of a sequence to `outputs` numbers.

    With `choice` the sequences of an example compete: one output, and a logit for each sequence.

    Its parameters are not initialised.
    """

    def __init__(self, config: GPTConfig, outputs: int, *, choice: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.config = config
        self.choice = choice
        self.dropout = KeyedDropout(config.dropout)
        self.gpt = GPT(config)
        self.classifier = nn.Linear(config.d_model, 1 if choice else outputs, bias=bias)
        if config.dropout:
            self.dropout.install(self.gpt)

    def canonical(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Yield all parameters by canonical name."""
        for name, parameter in self.named_parameters():
            yield name.removeprefix("gpt."), parameter

    def forward(
        self, tokens: Tensor, lengths: Tensor, keys: list[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (examples * sequences, time, d_model), and logits.

        tokens: (examples, sequences, time) int64, of which `lengths` (examples, sequences) int64 are real.
        keys: one of 64 bits for each sequence, then one for each example, for the dropout of a training step.
        Logits are (examples, outputs), with `choice` (examples, sequences).
        """
        examples, sequences, _ = tokens.shape
        rows = examples * sequences
        if keys is not None:
            self.dropout.begin(keys[:rows], tokens.device)
        hidden = self.gpt.hidden(tokens.flatten(0, 1))
        last = hidden[torch.arange(rows, device=hidden.device), lengths.flatten() - 1]
        states = last.view(examples, sequences, -1)
        if not self.choice:
            states = states.sum(1, keepdim=True)
        if keys is not None:
            self.dropout.begin(keys[rows:], tokens.device)
        mask = self.dropout(torch.ones_like(states[:, :1]))  # one for all answers to a question
        logits: Tensor = self.classifier(states * mask)
        return hidden, logits.squeeze(2 if self.choice else 1)

    def lm_loss(self, hidden: Tensor, tokens: Tensor, lengths: Tensor, of: int) -> Tensor:
        """Sum over sequences of the mean loss of their tokens but the first, over `of` sequences: a scalar.

        hidden, tokens, lengths: as of `forward`. The head computes no padding.
        """
        flat, counts = tokens.flatten(0, 1), lengths.flatten() - 1
        real = torch.arange(flat.size(1) - 1, device=flat.device) < counts[:, None]
        shares = (1 / (of * counts.to(torch.float32)))[:, None].expand_as(real)[real]
        owner = self.gpt.head or self.gpt.wte
        matrix: Tensor = owner.weight  # type: ignore[assignment]
        return weighted_loss(hidden[:, :-1][real], matrix, flat[:, 1:][real], shares, self.config.vocab_size)
