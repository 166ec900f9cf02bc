"""Texts of tokens, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.eval.detokenise import CBT, NEWS, PTB, WIKITEXT, Detokenizer

LINES = [
    (WIKITEXT, " = = <unk> 's Beatles = = ", "== <unk>'s Beatles =="),
    (WIKITEXT, "the Beatles ' song , 1963 – 64 , was no . 1", "the Beatles' song, 1963–64, was no. 1"),
    (WIKITEXT, "well @-@ known O 'Brien didn 't", "well-known O'Brien didn't"),
    (WIKITEXT, "H. americanus ( 5 – 6 kg ) , $ 1 @,@ <unk> .", "H. americanus (5–6 kg), $1,<unk>."),
    (WIKITEXT, 'He said : " No . " They left ( " at 20 ° C " ) .', 'He said: "No ." They left ("at 20°C").'),
    (
        NEWS,
        'They said 10,000 " well-known " U.S. voters don \'t',
        'They said 10,000 "well-known" U.S. voters don\'t',
    ),
    (PTB, "the firm 's u.s. unit did n't earn $ N or N N\\/N % of us$ N", None),
    (
        CBT,
        "`` Why , '' said Mr. XXXXX , `` you ca n't -LRB- go -RRB- ! ''",
        '"Why," said Mr. XXXXX, "you can\'t (go)!"',
    ),
    (
        CBT,
        "`` He said ` Go home ' , '' the boys ' mother cried .",
        "\"He said 'Go home',\" the boys' mother cried.",
    ),
]


@pytest.mark.parametrize(("detokenizer", "line", "text"), LINES)
def test_a_line_becomes_a_text_from_which_its_tokens_follow(
    detokenizer: Detokenizer, line: str, text: str | None
) -> None:
    plain = detokenizer.plain(line)
    assert plain.restored
    assert text is None or plain.text == text
    assert detokenizer.tokenise(plain.text) == line.strip(" ")


def test_a_line_whose_tokens_would_not_follow_stays_as_it_is() -> None:
    plain = WIKITEXT.plain(" sold 10,000 copies , they say ")
    assert (plain.restored, plain.text) == (False, "sold 10,000 copies , they say")


@pytest.mark.parametrize("detokenizer", [WIKITEXT, NEWS, PTB, CBT])
@given(
    tokens=st.lists(
        st.sampled_from(
            "a Mr. 5 U.S. , . ... ' 's n't '' `` \" ( ) $ % - -- @-@ @,@ = – <unk> \\/ * N".split()
        )
    )
)
def test_no_line_is_called_restored_that_is_not(detokenizer: Detokenizer, tokens: list[str]) -> None:
    line = " ".join(tokens)
    plain = detokenizer.plain(line)
    assert (detokenizer.tokenise(plain.text) == line) if plain.restored else (plain.text == line)
