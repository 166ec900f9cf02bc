"""A text that is shown while it is written: nothing is taken back, and a stop string is never seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataprep.tokenizer.tokenizer import Tokenizer
from pipeline.inference.streaming import UNFINISHED, Streaming
from pipeline.inference.texts import Stops

TEXTS = st.text(alphabet=" Tabc.é€😀\n", max_size=12)


def shown(stops: Stops, tokens: list[int]) -> list[str]:
    """The pieces that are shown of a text that ends after these tokens, or at a stop string."""
    streaming, pieces = Streaming(stops), list[str]()
    for token in tokens:
        piece, stopped = streaming.add(token)
        pieces.append(piece)
        if stopped:
            return pieces
    return [*pieces, streaming.pause()]


def test_what_is_shown_is_what_generate_writes(words: Tokenizer) -> None:
    @given(text=TEXTS, stops=st.lists(st.text(alphabet=" abc.é😀", min_size=1, max_size=4), max_size=3))
    def law(text: str, stops: list[str]) -> None:
        stop, tokens = Stops(words, stops), words.encode(text)
        end = next((n for n in range(len(tokens)) if stop(tokens[:n])), len(tokens))
        whole = words.decode(tokens[:end]).removesuffix(UNFINISHED)
        assert "".join(shown(stop, tokens)) == stop.cut(whole)

    law()


def test_bytes_that_are_no_text_become_what_they_become_at_once(words: Tokenizer) -> None:
    @given(tokens=st.lists(st.integers(0, words.vocab_size - 2), max_size=12))
    def law(tokens: list[int]) -> None:
        assert "".join(shown(Stops(words, []), tokens)) == words.decode(tokens).removesuffix(UNFINISHED)

    law()


def test_a_character_is_held_back_until_its_last_byte_and_a_stop_until_it_is_none(words: Tokenizer) -> None:
    assert shown(Stops(words, []), words.encode("é😀a")) == ["", "é", "", "", "", "😀", "a", ""]
    assert shown(Stops(words, ["!?."]), words.encode("!?!a")) == ["", "", "!?", "!a", ""]
    assert shown(Stops(words, ["!?."]), words.encode("!?.a")) == ["", "", ""]
    assert shown(Stops(words, ["!?."]), words.encode("a!?")) == ["a", "", "", "!?"]


def test_a_text_goes_on_after_a_pause_and_still_stops(words: Tokenizer) -> None:
    streaming = Streaming(Stops(words, ["!?."]))
    pieces = [streaming.add(token)[0] for token in words.encode("a!")]
    assert [*pieces, streaming.pause()] == ["a", "", "!"]
    assert [streaming.add(token) for token in words.encode("?.")] == [("?", False), ("", True)]
    one = Streaming(Stops(words, []))
    first, *others = words.encode("😀")
    assert [one.add(first)[0], one.pause()] == ["", ""], "half a character is not shown"
    assert [one.add(token)[0] for token in others][-1] == "😀"
