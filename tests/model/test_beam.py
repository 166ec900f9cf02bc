"""Beam search: wide enough it is exhaustive, and the cache changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from model import GPT, beam
from model.beam import Beam, _Search, beam_search
from model.generate import Sampling, generate
from model.incremental import IncrementalDecoder
from support.hf_directory import write as write_hf


@torch.no_grad()
def log_probability(model: GPT, prompt: list[int], new: list[int]) -> float:
    """Of the new tokens, each from its whole context."""
    total, context = 0.0, list(prompt)
    for token in new:
        steps = model(torch.tensor([context[-model.config.n_ctx :]]))[0, -1, : model.config.vocab_size]
        total += float(steps.log_softmax(-1)[token])
        context.append(token)
    return total


def test_one_beam_without_a_penalty_is_greedy(model: GPT) -> None:
    greedy = generate(model, [[7, 3]], 40, Sampling(temperature=0))
    assert beam_search(model, [[7, 3]], 40, Beam(1, length_penalty=0)) == greedy


class Forgetful(IncrementalDecoder):
    """A decoder that computes every token from its whole context."""

    def logits(self) -> torch.Tensor:
        self._caches = []
        return super().logits()


@pytest.mark.slow(1)
@pytest.mark.parametrize(("beams", "penalty"), [(2, 0.0), (4, 0.6)])
def test_a_beam_with_a_cache_finds_what_it_finds_without(
    model: GPT, monkeypatch: pytest.MonkeyPatch, beams: int, penalty: float
) -> None:
    # 42 tokens in a context of 24: it restarts on the way.
    (cached,) = beam_search(model, [[7, 3]], 40, Beam(beams, penalty))
    monkeypatch.setattr(beam, "IncrementalDecoder", Forgetful)
    assert beam_search(model, [[7, 3]], 40, Beam(beams, penalty)) == [cached]
    assert len(cached) == 40


@pytest.mark.slow(1)
@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_beam_that_holds_everything_finds_the_best_of_all(
    make_model: Callable[..., GPT], penalty: float
) -> None:
    model, prompt, eot, longest = make_model(vocab_size=4, attention=("dense", "banded:3")), [1, 2, 0], 3, 4
    texts = [
        list(tokens)
        for length in range(1, longest + 1)
        for tokens in product(range(4), repeat=length)
        if eot not in tokens[:-1] and (length == longest or tokens[-1] == eot)
    ]

    def score(tokens: list[int]) -> float:
        return log_probability(model, prompt, tokens) / ((5 + len(tokens)) / 6) ** penalty

    best = max(texts, key=score)
    expected = best[:-1] if best[-1] == eot else best
    found = beam_search(model, [prompt], longest, Beam(64, penalty), eot=eot)
    assert found == [expected]


@pytest.mark.slow(2)
@pytest.mark.parametrize("beams", [1, 3])
def test_prompts_of_different_lengths_get_what_each_gets_alone(model: GPT, beams: int) -> None:
    # The third and fourth fill the context of 24 on the way; texts end at different times, by eot or by stop.
    prompts = [[3], [1, 4, 1, 5], [(3 * i) % 61 for i in range(20)], [7] * 23, [8, 9], [3]]
    free = beam_search(model, prompts, 12, Beam(beams))
    eot, halting = free[1][2], free[4][5]

    def search(some: list[list[int]]) -> list[list[int]]:
        return beam_search(model, some, 12, Beam(beams), eot=eot, stop=lambda new: new[-1] == halting)

    found = search(prompts)
    assert found == [text for prompt in prompts for text in search([prompt])]
    assert len({len(text) for text in found}) > 1


@pytest.mark.slow(5)
def test_beams_are_those_of_transformers_where_no_text_ends_early(
    make_model: Callable[..., GPT], tmp_path: Path
) -> None:
    import transformers

    model = make_model().eval()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(write_hf(model, tmp_path)).eval()
    theirs.generation_config.eos_token_id = None
    prompts = torch.randint(61, (5, 6), generator=torch.Generator().manual_seed(2))
    written = theirs.generate(
        prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=12, num_beams=3, pad_token_id=0
    )
    assert beam_search(model, prompts.tolist(), 12, Beam(3)) == written[:, 6:].tolist()


def test_more_beams_find_a_likelier_text_than_greedy_search(model: GPT) -> None:
    prompt = [7, 3, 9]
    wide, narrow = (
        log_probability(model, prompt, *beam_search(model, [prompt], 12, Beam(beams))) for beams in (16, 1)
    )
    assert wide >= narrow


def test_a_larger_penalty_gives_no_shorter_text(model: GPT) -> None:
    eot = generate(model, [[5]], 12, Sampling(temperature=0))[0][3]
    lengths = [
        len(beam_search(model, [[5]], 12, Beam(length_penalty=penalty), eot=eot)[0])
        for penalty in (0.0, 1.0, 5.0)
    ]
    assert lengths == sorted(lengths)


def test_a_beam_ends_with_the_token_that_completes_a_stop(model: GPT) -> None:
    (found,) = beam_search(model, [[5]], 12, Beam(), stop=lambda new: len(new) == 4)
    assert len(found) == 4


@pytest.mark.parametrize(("width", "penalty", "named"), [(0, 0.6, "beams"), (4, -0.5, "length_penalty")])
def test_settings_out_of_range_are_refused(width: int, penalty: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Beam(width, penalty)


def test_a_search_goes_on_while_a_longer_text_may_become_better() -> None:
    search = _Search(Beam(1, length_penalty=1.0), 3, eot=9, stop=None)
    search.step([[(-1.0, 9), (-1.1, 5)]])
    assert (search.best, search.live) == ((-1.0, []), [(-1.1, [5])])
    for _ in range(2):
        search.step([[(-0.01, 5), (-9.0, 9)]])
    assert (search.best[1], search.live) == ([5, 5, 5], [])


def test_an_end_that_is_not_among_the_best_twice_as_many_as_beams_is_none() -> None:
    search = _Search(Beam(1, length_penalty=0.0), 3, eot=9, stop=None)
    search.step([[(-1.0, 5), (-1.1, 6), (-1.2, 9)]])
    assert search.best == (-float("inf"), [])


def test_a_beam_that_may_end_goes_on_with_the_next_token(model: GPT) -> None:
    ((eot,),) = generate(model, [[5]], 1, Sampling(temperature=0))
    assert beam_search(model, [[5]], 12, Beam(1, length_penalty=9.0), eot=eot) != [[]]


def test_gpt3s_beams_and_their_scores() -> None:
    """Brown et al. 2020, section 2.4; Wu et al. 2016, section 7."""
    assert Beam() == Beam(width=4, length_penalty=0.6)
    assert Beam().score(-3.0, 1) == -3.0
    assert Beam().score(-3.0, 7) == pytest.approx(-3.0 / 2**0.6)
    assert Beam(length_penalty=1.0).score(-3.0, 13) == pytest.approx(-1.0)


def test_a_search_ends_when_all_that_goes_on_can_only_equal_the_best() -> None:
    """After eot at -1, a text of three tokens at -4/3 has a score of -1 when nothing more is lost."""
    search = _Search(Beam(1, length_penalty=1.0), 3, eot=9, stop=None)
    search.step([[(-1.0, 9), (-4 / 3, 5)]])
    assert (search.best, search.live) == ((-1.0, []), [])


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_of_each_beam_twice_as_many_continuations_as_beams_are_looked_at(
    model: GPT, monkeypatch: pytest.MonkeyPatch, beams: int
) -> None:
    seen: list[int] = []
    step = _Search.step

    def noted(self: _Search, likeliest: Any) -> list[int]:
        seen.extend(map(len, likeliest))
        return step(self, likeliest)

    monkeypatch.setattr(_Search, "step", noted)
    beam_search(model, [[7, 3]], 3, Beam(beams))
    assert set(seen) == {2 * beams}
