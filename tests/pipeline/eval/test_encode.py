"""What the model is asked about: the tokens of contexts, continuations and windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.tokenizer import Tokenizer
from pipeline.eval.asking import AskedModel
from pipeline.eval.encode import Unaskable, pair, windows
from pipeline.eval.record import Notes
from pipeline.eval.requests import Answer, Request, Writing
from support.toy_eval.models import WORDS, write_tokenizer

N_CTX = 8
TEXT = st.lists(st.sampled_from(["the", "links", " ", "\n", "é", "q"]), max_size=12).map("".join)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tokenizer.load(write_tokenizer(tmp_path_factory.mktemp("bpe")))


class Listener(Notes):
    """Keeps requests in the order in which they come."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Request] = []

    def ask(self, request: Request):  # type: ignore[no-untyped-def]
        self.heard.append(request)
        return super().ask(request)


def listening(spoken: Tokenizer) -> tuple[AskedModel, list[Request]]:
    notes = Listener()
    return AskedModel(spoken, N_CTX, notes.ask), notes.heard


@given(
    st.lists(st.integers(1, 99), max_size=40),
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
)
def test_windows_are_those_of_lm_eval(tokens: list[int], sizes: tuple[int, int]) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    n_ctx, stride = sizes
    theirs = map(make_disjoint_window, get_rolling_token_windows(tokens, 0, n_ctx, n_ctx - stride + 1))
    assert list(windows(tokens, 0, n_ctx, stride)) == list(theirs)


@given(context=TEXT, continuation=TEXT)
def test_just_the_characters_of_the_continuation_are_scored(
    spoken: Tokenizer, context: str, continuation: str
) -> None:
    before, after, merged = pair(spoken.encode, context, continuation)
    assert spoken.decode(before) == context.rstrip()
    assert spoken.decode(after) == context[len(context.rstrip()) :] + continuation
    if not merged:
        assert before + after == spoken.encode(context + continuation)


def test_a_token_over_the_border_is_counted(spoken: Tokenizer) -> None:
    assert spoken.encode("the links") == spoken.encode("the") + spoken.encode(" links")
    assert len(spoken.encode(" links")) == 1
    model, _ = listening(spoken)
    model.score("the", " links")
    assert model.boundary_merges == 0
    model.score("the li", "nks")
    assert model.boundary_merges == 1
    assert len(spoken.encode("the l")) == len(spoken.encode("the links of"))  # but they are others
    assert model.score("the l", "inks of").tokens == len(spoken.encode("inks of"))
    assert model.boundary_merges == 2


def test_spaces_at_the_end_of_a_context_are_scored_with_the_continuation(spoken: Tokenizer) -> None:
    model, heard = listening(spoken)
    assert model.score("the ", "links") == model.score("the", " links")
    assert heard[0] == heard[1]


def test_only_the_last_tokens_are_scored_where_that_is_asked(spoken: Tokenizer) -> None:
    model, heard = listening(spoken)
    assert model.score("the", " links of people", last=1).tokens == 1
    assert heard[0].context + heard[0].continuation == tuple(spoken.encode("the links of people"))


def test_an_empty_context_is_end_of_text(spoken: Tokenizer) -> None:
    model, heard = listening(spoken)
    model.score("", "the")
    model.write("", Writing(max_tokens=1))
    model.likeliest("", 2)
    assert [request.context for request in heard] == [(spoken.eot,)] * 3


def test_a_context_that_is_too_long_loses_its_beginning_and_is_counted(spoken: Tokenizer) -> None:
    """The last token of the continuation is no input: n_ctx + 1 tokens fit."""
    words = [f" {word}" for word in WORDS[1:] if len(spoken.encode(f" {word}")) == 1]
    text = "".join(words[:N_CTX])
    model, heard = listening(spoken)
    model.score(text, words[0])
    assert model.truncated == 0
    model.score("the" + text, words[0])
    model.write(text, Writing(max_tokens=3))
    model.likeliest("the" + text, 1)
    assert model.truncated == 3
    assert [len(request.context) for request in heard] == [N_CTX, N_CTX, N_CTX - 3, N_CTX]
    assert heard[1].context == heard[0].context


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda model: model.score("the links", ""), "'' of 'the links'"),
        (lambda model: model.score("the", " links" * 9), "9 tokens, more than the 8"),
    ],
)
def test_what_cannot_be_asked_is_named(spoken: Tokenizer, ask, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Unaskable, match=named):
        ask(listening(spoken)[0])


def test_a_long_text_leaves_its_context_half_of_the_models(spoken: Tokenizer) -> None:
    model, heard = listening(spoken)
    model.write("the links of people that voted and pages", Writing(max_tokens=8))
    assert len(heard[0].context) == N_CTX // 2


def test_a_rolled_text_is_the_sum_of_its_windows(spoken: Tokenizer) -> None:
    model, heard = listening(spoken)
    text = "the links of people that voted and pages lead to a good story"
    assert model.roll(text).tokens == model.count(text)
    assert sum((request.continuation for request in heard), ()) == tuple(spoken.encode(text))
    assert heard[0].context == (spoken.eot,)
    noted = [*heard]
    model.roll(text, stride=99)
    assert heard == noted * 2


def test_a_rolled_text_is_greedy_where_each_of_its_windows_is(spoken: Tokenizer) -> None:
    text = "the links of people that voted and pages lead to a good story"
    for greedy in ([True, True], [True, False]):
        answers = iter(greedy)
        model = AskedModel(spoken, N_CTX, lambda _, answers=answers: Answer(key="", is_greedy=next(answers)))  # type: ignore[misc]
        assert model.roll(text).is_greedy == all(greedy)
