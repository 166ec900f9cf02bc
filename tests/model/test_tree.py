"""Rows of texts: each beginning is there once, and every text can be read back from its row."""

from hypothesis import given, settings
from hypothesis import strategies as st

from model.tree import FEW, WASTE, Row, Text, batches, rows

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple)
TEXTS = st.lists(TOKENS.flatmap(lambda tokens: st.builds(Text, st.just(tokens), st.integers(1, len(tokens)))))


def seen(row: Row, place: int) -> list[int]:
    """Where the tokens stand that a token sees."""
    return [other for other in range(place + 1) if place < row.end[other]]


@given(TEXTS)
@settings(max_examples=50)
def test_every_text_is_read_back_from_what_its_last_token_sees(texts: list[Text]) -> None:
    found = {}
    for row in rows(texts, largest=40, pairs=1e9):
        for index, places in row.asked:
            path = seen(row, places[-1])
            assert row.tokens[path].tolist() == list(texts[index].tokens)
            assert row.depth[path].tolist() == list(range(len(path)))
            assert places == path[-texts[index].asked :]
            found[index] = row
        assert len(row.tokens) <= 40
    assert sorted(found) == list(range(len(texts)))


@given(TEXTS)
@settings(max_examples=20)
def test_a_common_beginning_is_there_once(texts: list[Text]) -> None:
    whole = list(rows(texts, largest=10**6, pairs=1e9))
    beginnings = {text.tokens[:end] for text in texts for end in range(1, len(text.tokens) + 1)}
    assert sum(len(row.tokens) for row in whole) == len(beginnings)


def test_several_levels_stand_in_depth_first_order() -> None:
    texts = ["the cat on", "the cat ran", "the cat sat", "the dog ran"]
    words = sorted({word for text in texts for word in text.split()})
    (row,) = rows([Text(tuple(map(words.index, text.split())), 1) for text in texts], largest=99, pairs=1e9)
    assert [words[token] for token in row.tokens] == ["the", "cat", "on", "ran", "sat", "dog", "ran"]
    assert row.depth.tolist() == [0, 1, 2, 2, 2, 1, 2]
    assert row.end.tolist() == [7, 5, 3, 4, 5, 7, 7]
    assert row.branches


def test_a_text_and_its_beginnings_do_not_branch() -> None:
    (row,) = rows([Text((1, 2, 3), 1), Text((1,), 1), Text((1, 2, 3), 3)], largest=9, pairs=1e9)
    assert (row.tokens.tolist(), row.branches) == ([1, 2, 3], False)


def test_texts_share_a_row_only_where_it_is_worth_its_attention() -> None:
    question, other = (0, *range(100, 160)), (0, *range(200, 260))
    texts = [Text((*start, end), 1) for start in (question, other) for end in (1, 2, 3, 4)]
    # A common first token saves less than 60 tokens lose that attend in vain to 60 others.
    found = [sorted(index for index, _ in row.asked) for row in rows(texts, largest=999, pairs=1500)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_row_is_no_larger_than_it_may_be_unless_one_text_is() -> None:
    texts = [Text((1, 2, end), 1) for end in range(5)] + [Text((9,) * 7, 1)]
    assert [len(row.tokens) for row in rows(texts, largest=4, pairs=1e9)] == [4, 4, 3, 7]


@given(TEXTS, st.integers(1, 60))
@settings(max_examples=50)
def test_batches_hold_each_row_once_and_waste_little(texts: list[Text], batch_tokens: int) -> None:
    whole = list(rows(texts, largest=20, pairs=20))
    found = batches(whole, batch_tokens)
    assert sorted(index for batch in found for index in batch) == list(range(len(whole)))
    for batch in found:
        lengths = [len(whole[index].tokens) for index in batch]
        assert len(batch) * max(lengths) <= batch_tokens or len(batch) == 1
        assert max(lengths) - min(lengths) <= max(WASTE * max(lengths), FEW)
        assert len({whole[index].branches for index in batch}) == 1
