"""GPT-2's table: perplexity of texts, LAMBADA, the Children's Book Test; against models known by heart."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.errors import DataError
from pipeline.eval.documents import Asked, Example
from pipeline.eval.engines import cbt, completions, gender, lambada, language, shown
from pipeline.eval.language_model import Score
from pipeline.eval.sets import cbt as cbt_sets
from pipeline.eval.sets import language as sets
from support.evaluation import ask, examples, measured
from support.oracles import Knowing, Oracle, Placeholders, Uniform


def pages(*texts: str) -> list[Example]:
    return examples([{"page": text} for text in texts])


class Words(Uniform):
    """A token is a word or an end of line."""

    def count(self, text: str) -> int:
        return len(text.split()) + text.count("\n")


@pytest.mark.parametrize("text", ["alone", "stream"])
def test_the_perplexity_of_a_uniform_model_of_words_is_its_vocabulary(text: str) -> None:
    articles = pages(" one two \n \n three four five \n", " six \n")
    documents = language.evaluate(ask("wikitext2", "paper", articles, text=text), Words(vocabulary=50))
    assert measured(documents, "perplexity") == pytest.approx(50)
    assert [document.values["perplexity"][1] for document in documents] == [5 + 3, 1 + 1]
    assert measured(documents, "lines_as_they_stand") == 0


def test_bits_per_byte_count_the_bytes_of_the_original() -> None:
    documents = language.evaluate(ask("enwik8", "paper", pages("dä 東")), Uniform(vocabulary=2**12))
    assert measured(documents, "bits_per_byte") == pytest.approx(4 * 12 / 7)


def test_perplexity_is_by_original_tokens_and_the_text_is_plain() -> None:
    model = Uniform(vocabulary=math.e)
    documents = language.evaluate(ask("ptb", "gpt2", pages(" it was n't N N \n")), model)
    assert "".join(asked for _, asked in model.asked) == "it wasn't N N\n"
    assert measured(documents, "perplexity") == pytest.approx(math.exp(len("it wasn't N N\n") / 6))


def bigrams(context: str, continuation: str) -> float:
    """The probability of a character depends on the one before it; "" is before a text."""
    total, before = 0.0, context[-1:]
    for after in continuation:
        total -= 1 + (7 * ord(before or "\0") + 3 * ord(after)) % 11
        before = after
    return total


@given(
    texts=st.lists(st.text("ab \n", max_size=40), min_size=1, max_size=3),
    n_ctx=st.integers(4, 12),
    stride=st.integers(1, 12),
)
def test_a_stream_predicts_each_character_once_after_as_much_as_fits(
    texts: list[str], n_ctx: int, stride: int
) -> None:
    model = Oracle(bigrams, n_ctx=n_ctx)
    documents = language.evaluate(ask("enwik8", "paper", pages(*texts), stride=stride), model)
    nats = sum(document.values["bits_per_byte"][0] for document in documents) * math.log(2)
    whole, seen = "".join(texts), ""
    for context, piece in model.asked:
        assert seen.endswith(context)
        assert len(context) >= min(len(seen), n_ctx + 1 - len(piece))
        assert len(piece) <= n_ctx
        seen += piece
    assert seen == whole
    assert nats == pytest.approx(-bigrams("", whole))


def test_white_space_between_the_texts_of_a_stream_is_scored_with_the_next_word() -> None:
    model = Uniform(vocabulary=2)
    language.evaluate(ask("enwik8", "paper", pages("ab\n", " cd\n")), model)
    assert [piece for _, piece in model.asked] == ["ab", "\n cd\n"]


PASSAGES = examples(
    [{"text": text} for text in ("Joe saw the old\n\nred", "I gave it to Mack", "Yes , said Jane")]
)


def test_lambada_scores_what_follows_the_last_space() -> None:
    model = Placeholders()
    lambada.evaluate(ask("lambada", "gpt3", PASSAGES), model)
    assert model.asked == [("Joe saw the", " old\n\nred"), ("I gave it to", " Mack"), ("Yes , said", " Jane")]


class Halves(Placeholders):
    """Cuts each word but Mack into two tokens. The likeliest new word is `the`, then `Mack`."""

    def count(self, text: str) -> int:
        return 1 if text == " Mack" else 2

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        score = super().score(context, continuation, last=last)
        greedy = last == 1 and continuation == " Jane"
        return Score(math.log(0.5) if last == 1 else math.log(0.25), greedy, score.tokens)

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        return [(" the", -1.0), (".", -2.0), ("y", -3.0), (" Mack", -4.0)]


def test_gpt2_s_lambada_is_of_the_last_token_and_its_filter_passes_over_function_words() -> None:
    documents = lambada.evaluate(ask("lambada", "gpt2", PASSAGES), Halves())
    assert measured(documents, "perplexity") == pytest.approx(2)
    assert [document.values["acc"][0] for document in documents] == [0, 0, 1]
    assert [document.values["acc_filtered"][0] for document in documents] == [0, 1, 1]


def test_gpt3_s_lambada_with_shots_is_a_cloze_of_other_passages() -> None:
    model = Placeholders(n_ctx=1000)
    asked = ask("lambada", "gpt3", PASSAGES, shots=2)
    documents = lambada.evaluate(asked, model)
    prompt, word = model.asked[1]
    blank = "Yes , said ____. -> Jane", "Joe saw the ____. -> old\n\nred"
    head, tail = "Fill in blank:\n\n", "\n\nI gave it to ____. ->"
    assert prompt in {head + "\n\n".join(order) + tail for order in (blank, blank[::-1])}
    assert word == " Mack"
    assert [document.shown for document in documents] == [2, 2, 2]


@pytest.mark.parametrize(("inverse", "right"), [(False, 1), (True, 0)])
def test_a_model_that_knows_the_passages_is_right_and_its_inverse_wrong(inverse: bool, right: int) -> None:
    known = Knowing([passage.row["text"] for passage in PASSAGES], inverse=inverse)
    assert measured(lambada.evaluate(ask("lambada", "gpt3", PASSAGES), known), "acc") == right


BLOCK = [
    *(f"{number} He did n't see it , `` he said . ''" for number in range(1, 21)),
    "21 `` The XXXXX is here , '' said Jane .\tking\t\tqueen|king|boy|cat|dog|cow|hen|pig|fox|owl",
]


def write(path: Path, content: str) -> list[Path]:
    path.write_text(content, encoding="utf-8")
    return [path]


@pytest.mark.parametrize(("inverse", "right"), [(False, 1), (True, 0)])
def test_a_candidate_of_cbt_is_scored_with_the_rest_of_its_sentence(
    tmp_path: Path, inverse: bool, right: int
) -> None:
    paths = write(tmp_path / "cbtest_CN_valid_2000ex.txt", "\n".join([*BLOCK, "", *BLOCK, ""]))
    found = list(cbt_sets.questions(paths, tmp_path))
    assert [each.line for each in found] == [21, 43]
    text = " ".join(['He didn\'t see it, "he said."'] * 20)
    model = Knowing([text + ' "The king is here," said Jane.'], inverse=inverse)
    assert measured(cbt.evaluate(ask("cbt_cn", "paper", found), model), "acc") == right
    assert model.asked[1] == (text + ' "The ', 'king is here," said Jane.')


def test_readers_read_what_was_published(tmp_path: Path) -> None:
    wiki = write(
        tmp_path / "wiki.test.tokens", " \n = One = \n \n a <unk> , \n = = Part = = \n \n = Two = \n \n b \n"
    )
    assert [(each.line, each.row["page"]) for each in sets.wikitext(wiki, tmp_path)] == [
        (1, " \n = One = \n \n a <unk> , \n = = Part = = \n \n"),
        (7, " = Two = \n \n b \n"),
    ]
    ptb = write(tmp_path / "ptb.test.txt", " no it was n't black monday \n" * 3000)
    sections = list(sets.lines_of_text(ptb, tmp_path))
    assert [each.line for each in sections] == [1, 1172, 2343]
    assert "".join(each.row["page"] for each in sections) == ptb[0].read_text()
    news = write(tmp_path / "news.en.heldout-00000-of-00050", "Having a ball .\nA second one .\n")
    assert [each.row["page"] for each in sets.sentences(news, tmp_path)] == [
        "Having a ball .\n",
        "A second one .\n",
    ]
    plain = write(tmp_path / "lambada_test_plain_text.txt", "in my palm is a clear stone\n")
    assert [each.row["text"] for each in sets.lambada_lines(plain, tmp_path)] == [
        "in my palm is a clear stone"
    ]
    jsonl = write(tmp_path / "lambada_test.jsonl", json.dumps({"text": "to Mack\n\nand Joe"}) + "\n")
    assert [each.row for each in sets.lambada(jsonl, tmp_path)] == [{"text": "to Mack\n\nand Joe"}]


def test_the_last_5_mb_of_enwik8_begin_and_end_with_whole_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "HUTTER_BYTES", 20)
    monkeypatch.setattr(sets, "TEST_BYTES", 9)
    path = tmp_path / "enwik8.gz"
    path.write_bytes(gzip.compress(b"0123\n56789\xc3" + b"\xa4bcd ef\xe6\xb1"))
    (read,) = sets.hutter([path], tmp_path)
    assert (read.row["page"], read.line) == ("bcd ef", 2)


WRONG: list[tuple[Callable[..., object], str, str]] = [
    (sets.lambada, '{"text": "one"}', r":1: field 'text' is 'one', where a passage"),
    (sets.lambada, '{"text": "a b"}\n{"txt": 1}', r":2: has no field 'text'"),
    (sets.wikitext, "no article\n", "has no article"),
    (sets.hutter, "too short", "has 9 bytes, where 100,000,000 are wanted"),
    (cbt_sets.questions, "1 a\n3 b\n", ":2: begins with '3', where 2 is wanted"),
    (cbt_sets.questions, "1 a\n2 b\n", ":2: ends within a block"),
    (cbt_sets.questions, "\n".join(BLOCK).replace("XXXXX", "it"), ":21: is no question with XXXXX"),
    (cbt_sets.questions, "\n".join(BLOCK).replace("|king", ""), ":21: has the answer 'king' not among"),
]


@pytest.mark.parametrize(("reader", "content", "error"), WRONG)
def test_what_is_wrong_in_a_set_is_named(
    tmp_path: Path, reader: Callable[..., list[Example]], content: str, error: str
) -> None:
    with pytest.raises(DataError, match=error):
        list(reader(write(tmp_path / "set", content), tmp_path))


SUM = {"context": "\n\nQ: 1 + 1?\n\nA:", "completion": " 2"}
ASKED = [
    (lambada, ask("lambada", "gpt2", PASSAGES)),
    (lambada, ask("lambada", "gpt3", PASSAGES, shots=2)),
    (language, ask("ptb", "gpt2", pages(" it was n't N N \n"), stride=5)),
    (language, ask("one_billion_words", "paper", pages("It was n't .\n"))),
    (completions, ask("arithmetic_2da", "paper", examples([SUM]))),
    (gender, ask("gender", "paper")),
    (shown, ask("shown_bias", "paper")),
]


@pytest.mark.parametrize(("engine", "asked"), ASKED)
def test_what_is_asked_does_not_depend_on_the_answers(engine: ModuleType, asked: Asked) -> None:
    nothing, something = Placeholders(), Oracle(n_ctx=64)
    engine.evaluate(asked, nothing)
    engine.evaluate(asked, something)
    assert nothing.asked == something.asked != []
