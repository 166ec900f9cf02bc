"""Our scores are those of lm-eval's own backend for Hugging Face models, with the same weights."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from model import GPT, GPTConfig
from model.init import initialise
from model.score import likeliest, score
from support.hf_directory import write as write_hf

VOCABULARY = 300
Request = tuple[list[int], list[int]]


def model_of(norm: str) -> GPT:
    """A random model whose predictions are far from uniform."""
    config = GPTConfig(
        n_layer=2, n_head=2, d_model=32, n_ctx=160, vocab_size=VOCABULARY, init_std=0.2, norm=norm
    )
    model = GPT(config)
    initialise(model.named_parameters(), config, seed=0)
    return model.eval()


def requests(model: GPT, shots: int) -> list[Request]:
    """Requests in the shapes of sets: how many choices there are, and how long context and choices are."""
    draw = random.Random(shots)

    def text(shortest: int, longest: int) -> list[int]:
        return [draw.randrange(VOCABULARY) for _ in range(draw.randint(shortest, longest))]

    found: list[Request] = []
    for _ in range(6):
        for choices, context, ending in (
            (4, (15, 30), (1, 6)),  # ARC
            (4, (25, 45), (5, 20)),  # HellaSwag
            (2, (60, 75), (1, 1)),  # BoolQ
            (1, (60, 75), (1, 3)),  # LAMBADA
        ):
            solved = [token for _ in range(shots) for token in [*text(*context), *text(*ending)]]
            asked = [*solved, *text(*context)]  # with 3 shots, some are longer than the model's context
            found += [(asked, text(*ending)) for _ in range(choices)]
        # Arithmetic, with an answer that the model finds likeliest and one that it does not.
        question, answer = [*text(8, 10) * (1 + shots)], list[int]()
        for _ in range(3):
            (((token, _),),) = likeliest(model, [[*question, *answer]], 1)
            answer.append(token)
        found += [(question, answer), (question, [*answer[:2], (answer[2] + 1) % VOCABULARY])]
        # Winogrande: the contexts differ, and what is scored is common.
        start, rest, ending = text(5, 8), text(3, 6), text(4, 8)
        found += [([*start, option, *rest], ending) for option in text(2, 2)]
    return found


@pytest.mark.slow(15)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_scores_are_those_of_lm_eval(norm: str, tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    model = model_of(norm)
    write_hf(model, tmp_path)
    words = Tokenizer(models.WordLevel({str(token): token for token in range(VOCABULARY)}, unk_token="0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="0")
    for dtype in (torch.float32, torch.float64):
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
        # With its cache of logits, two requests that read the same tokens can share one's result.
        lm = HFLM(pretrained=theirs, tokenizer=tokenizer, batch_size=4, logits_cache=False)
        for shots in (0, 3):
            asked = requests(model.to(dtype), shots)
            found = score(model, asked)
            expected = lm._loglikelihood_tokens(
                [(("", ""), context, end) for context, end in asked], disable_tqdm=True
            )
            for (ours, greedy), (value, likely) in zip(found, expected, strict=True):
                near = 1e-6 * abs(value) + 1e-5 if dtype == torch.float32 else 1e-9
                assert ours == pytest.approx(value, rel=0, abs=near)
                assert greedy == likely
            assert {greedy for _, greedy in found} == {True, False}
