"""Thresholds: each rule names itself and the number that decided, and the first that fails decides."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dataprep.corpus.recipe import C4, FineWeb, Gopher, Links, NearDuplicates, Quality, Select, overridden
from dataprep.score import stage as score
from dataprep.selection import thresholds

PROSE = (
    "The keeper of the light came down to the shore with a lamp that he had lit at dusk. Nobody was there. "
    "He listened to the water for a while and thought of the boats that had gone out in the morning.\n"
    "Then a voice called from the dark, and he answered it. They had to be near, with so little wind! "
    "He raised his lamp above his head. Was it the harbour master, or somebody from the village?"
)
WORDS = " ".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(200))


def judged(text: str, **rules: Any) -> tuple[str, float | None]:
    table = pa.Table.from_pylist([{"doc_id": b"0" * 16, **score.measure(text)}], schema=score.SCHEMA)
    (verdict,), (number,) = thresholds.apply(table, Select.model_validate(rules))
    return verdict, number


def only(section: str, rule: str) -> dict[str, Any]:
    """A selection by one rule of a section, at the paper's number."""
    kind = thresholds.SECTIONS[section]
    return {
        section: {
            name: None for name in kind.model_fields if name.startswith(("min", "max")) and name != rule
        }
    }


@pytest.mark.parametrize("section", thresholds.SECTIONS)
def test_plain_prose_passes_every_rule(section: str) -> None:
    assert judged(PROSE, **{section: {}}) == ("kept", None)


@pytest.mark.parametrize(
    ("rules", "text", "verdict"),
    [
        ({"languages": ["de"]}, PROSE, "languages"),
        ({"languages": ["en"]}, "Der Hund schläft heute auf dem alten Sofa im Haus", "languages"),
        ({"min_language_probability": 1.1}, PROSE, "min_language_probability"),
        ({"min_words": 5}, "one two three four", "min_words"),
        ({"max_words": 3}, "one two three four", "max_words"),
    ],
)
def test_a_general_threshold_names_its_verdict(rules: dict[str, Any], text: str, verdict: str) -> None:
    assert judged(text, **rules)[0] == verdict


@pytest.mark.parametrize(
    ("rule", "text", "number"),
    [
        ("max_duplicate_paragraphs", "a b\n\na b\n\nc d e", 1 / 3),
        ("max_duplicate_paragraph_characters", "abcd\n\nabcd\n\nc", 4 / 13),
        ("max_duplicate_lines", "a b\na b\nc d e", 1 / 3),
        ("max_duplicate_line_characters", "abcd\nabcd\n\nc", 4 / 12),
        ("max_top_2_gram", "so far so far so far away we go", 6 * 3 / 31),
        ("max_top_3_gram", "go on now x go on now", 9 * 2 / 21),
        ("max_top_4_gram", "go on now then x go on now then", 14 * 2 / 31),
        *((f"max_duplicate_{n}_grams", f"{WORDS[:95]} {WORDS[:95]}", None) for n in range(5, 11)),
        ("min_words", "one two -- three", 3),
        ("max_words", "la " * 100_001, 100_001),
        ("min_word_length", "a bc --------", 1.5),
        ("max_word_length", "extraordinarily incomprehensible", 15.5),
        ("max_hashes", "# one # two", 2 / 4),
        ("max_ellipses", "wait... what… no", 2 / 3),
        ("max_bullet_lines", "- a\n • b\n- c", 1.0),
        ("max_ellipsis_lines", "a...\nb… \nc", 2 / 3),
        ("min_alphabetic", "1 2 3 4 five", 0.2),
        ("min_stop_words", "green eggs and ham", 1),
    ],
)
def test_gophers_rules(rule: str, text: str, number: float | None) -> None:
    verdict, decided = judged(text, **only("gopher", rule))
    assert verdict == f"gopher.{rule}"
    if number is not None:
        assert decided == pytest.approx(number)


def test_two_stop_words_are_enough_for_gopher() -> None:
    assert judged("the cat with", **only("gopher", "min_stop_words")) == ("kept", None)


GOOD = "There are four words here. And more of them follow. "


@pytest.mark.parametrize(
    ("rule", "text", "number"),
    [
        ("max_lorem_ipsum", PROSE + "\nLorem Ipsum dolor sit amet.", 1),
        ("max_curly_brackets", PROSE + "\nif (x) { return it.", 1),
        ("min_sentences", GOOD + GOOD, 4),
        ("min_sentences", GOOD * 3 + "but its line has no end", 0),
        ("min_sentences", "\n".join(["Only two.", "Enable javascript for more of this page."] * 9), 0),
        ("min_sentences", "\n".join(["We use cookies on this page."] * 9), 0),
        ("min_sentences", "\n".join(["And so it goes on..."] * 9), 0),
        ("min_sentences", f"{'x' * 1001} is too long. {GOOD * 9}", 0),
    ],
)
def test_c4s_rules(rule: str, text: str, number: float) -> None:
    assert judged(text, **only("c4", rule)) == (f"c4.{rule}", number)


def test_c4_counts_lines_without_a_full_stop_when_the_recipe_says_so() -> None:
    text = "\n".join(["A line without an end"] * 5)
    assert judged(text, c4={}) == ("c4.min_sentences", 0)
    assert judged(text, c4={"terminal_punctuation": False}) == ("kept", None)


def test_c4_does_not_see_what_a_citation_hides() -> None:
    assert judged("It is known to all.[1]\n" * 5, c4={}) == ("kept", None)


@pytest.mark.parametrize(
    ("rule", "text", "number"),
    [
        ("min_terminal_lines", "\n".join(["no end"] * 9 + ["An end."]), 0.1),
        ("max_short_lines", "\n".join(["short", "short", "short", "x" * 31]), 0.75),
        ("max_duplicate_characters", "abcd\nabcd\nefgh\n\n", 4 / 12),
        ("max_newlines", "a\nb\nc d", 0.5),
    ],
)
def test_finewebs_rules(rule: str, text: str, number: float) -> None:
    assert judged(text, **only("fineweb", rule)) == (f"fineweb.{rule}", number)


def test_the_first_rule_that_fails_decides() -> None:
    assert judged("# a # a # a", min_words=10, gopher={})[0] == "min_words"
    assert judged("# a # a # a", gopher={})[0] == "gopher.max_top_2_gram"


def test_an_empty_text_is_measured_and_refused() -> None:
    assert judged("", gopher={}) == ("gopher.min_words", 0)
    assert judged("", fineweb={}) == ("fineweb.min_terminal_lines", 0)


def test_an_override_switches_a_section_on_with_the_papers_numbers() -> None:
    rules = overridden(Select(), ["gopher.max_hashes=0.5", "fineweb={}"])
    assert rules.gopher is not None
    assert (rules.gopher.max_hashes, rules.gopher.min_words) == (0.5, 50)
    assert rules.fineweb is not None
    assert rules.c4 is None


def test_the_numbers_of_gophers_c4s_and_finewebs_rules() -> None:
    """Rae et al. 2021, table A1; Raffel et al. 2020, section 2.2; Penedo et al. 2024, section 3.6."""
    assert Gopher().model_dump() == {
        "max_duplicate_paragraphs": 0.3,
        "max_duplicate_paragraph_characters": 0.2,
        "max_duplicate_lines": 0.3,
        "max_duplicate_line_characters": 0.2,
        "max_top_2_gram": 0.2,
        "max_top_3_gram": 0.18,
        "max_top_4_gram": 0.16,
        "max_duplicate_5_grams": 0.15,
        "max_duplicate_6_grams": 0.14,
        "max_duplicate_7_grams": 0.13,
        "max_duplicate_8_grams": 0.12,
        "max_duplicate_9_grams": 0.11,
        "max_duplicate_10_grams": 0.1,
        "min_words": 50,
        "max_words": 100_000,
        "min_word_length": 3,
        "max_word_length": 10,
        "max_hashes": 0.1,
        "max_ellipses": 0.1,
        "max_bullet_lines": 0.9,
        "max_ellipsis_lines": 0.3,
        "min_alphabetic": 0.8,
        "min_stop_words": 2,
    }
    assert C4().model_dump() == {
        "terminal_punctuation": True,
        "max_lorem_ipsum": 0,
        "max_curly_brackets": 0,
        "min_sentences": 5,
        "min_lines": None,
    }
    assert FineWeb().model_dump() == {
        "min_terminal_lines": 0.12,
        "max_short_lines": 0.67,
        "max_duplicate_characters": 0.1,
        "max_newlines": 0.3,
    }
    assert Quality().alpha == 9, "Brown et al. 2020, appendix A"
    assert (NearDuplicates().bands, NearDuplicates().rows, NearDuplicates().threshold) == (20, 7, 0.8)
    assert Links().karma == 3, "Radford et al. 2019, section 2.1"


@pytest.mark.parametrize("word", ["the", "be", "to", "of", "and", "that", "have", "with"])
def test_gophers_stop_words(word: str) -> None:
    assert score.measure(f"green {word} eggs")["gopher_stop_words"] == 1


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("Two words.", 0),
        ("Here are three.", 1),
        (f"It is {'x' * 999}.", 1),
        (f"It is {'x' * 1000}.", 0),
        *((f"See our {policy} here.", 0) for policy in ("Terms of Use", "privacy policy", "cookie policy")),
        *(
            (f"This site {use} here.", 0)
            for use in ("uses cookies", "makes use of cookies", "will use cookies")
        ),
        ("We like all cookies here.", 1),
    ],
)
def test_the_lines_that_c4_leaves(line: str, lines: int) -> None:
    assert score.measure(line)["c4_lines"] == lines


@pytest.mark.parametrize(("characters", "share"), [(30, 1.0), (31, 0.0)])
def test_finewebs_short_lines_have_at_most_30_characters(characters: int, share: float) -> None:
    assert score.measure("x" * characters)["fineweb_short_lines"] == share


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"gopher": only("gopher", "max_hashes")["gopher"]}, "# " + "word " * 9),
        ({"gopher": only("gopher", "min_words")["gopher"]}, "word " * 50),
        ({"gopher": only("gopher", "min_alphabetic")["gopher"]}, "one two three four 5"),
        ({"c4": {}}, "This is a sentence. " * 5),
        ({"min_words": 4, "max_words": 4}, "one two three four"),
    ],
)
def test_a_text_at_the_bound_is_kept(rules: dict[str, Any], text: str) -> None:
    assert judged(text, **rules) == ("kept", None)
