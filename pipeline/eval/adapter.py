"""A model of this project inside lm-eval's own `simple_evaluate`, for scripts that call that.

    from lm_eval import simple_evaluate
    simple_evaluate(OutboundLM("runs/gpt2"), tasks=["hellaswag"])

There lm-eval downloads its sets and asks at once; `outbound eval` does neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import RunError, UsageError
from pipeline.eval.harness import writing
from pipeline.eval.requests import Writing

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError:
    raise UsageError('lm-eval is not installed: pip install "outbound-gpt[eval]"') from None


class OutboundLM(TemplateLM):  # type: ignore[misc]
    """A run's newest checkpoint, or a directory of Hugging Face's format, in fp32 on one device.

    Raises RunError when there is no whole model or no tokenizer.
    """

    def __init__(self, where: str | Path, device: str = "cpu") -> None:
        from pipeline.checkpoint.described import required
        from pipeline.checkpoint.weights import open_weights

        super().__init__()
        weights = open_weights(Path(where))
        self._tokens = required(weights.tokenizer, Path(where))
        self._model = weights.model().to(device)

    @property
    def eot_token_id(self) -> int:
        return self._tokens.eot

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        return self._tokens.encode(string)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        from model.score import score

        return score(self._model, [(context, continuation) for _, context, continuation in requests])

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        windows, of = [], []
        for number, request in enumerate(requests):
            tokens = self._tokens.encode(request.args[0])
            for window in get_rolling_token_windows(tokens, self.eot_token_id, self._model.config.n_ctx, 1):
                windows.append((None, *make_disjoint_window(window)))
                of.append(number)
        sums = [0.0] * len(requests)
        for number, (log_likelihood, _) in zip(of, self._loglikelihood_tokens(windows), strict=True):
            sums[number] += log_likelihood
        return sums

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        alike: defaultdict[Writing, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            alike[writing(request.args[1])].append(number)
        texts = [""] * len(requests)
        for how, numbers in alike.items():
            written = self._write([requests[number].args[0] for number in numbers], how)
            for number, text in zip(numbers, written, strict=True):
                texts[number] = text
        return texts

    def _write(self, contexts: Sequence[str], how: Writing) -> list[str]:
        from pipeline.inference.texts import write_texts

        room = self._model.config.n_ctx - how.max_tokens
        if room < 1:
            raise RunError(f"max_gen_toks is {how.max_tokens}, and the context {self._model.config.n_ctx}")
        return write_texts(
            self._model,
            self._tokens,
            [(self._tokens.encode(context) or [self.eot_token_id])[-room:] for context in contexts],
            max_tokens=how.max_tokens,
            stops=how.stops,
            beams=how.beams,
            length_penalty=how.length_penalty,
        )
