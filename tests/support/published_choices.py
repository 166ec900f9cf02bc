"""A few rows of multiple-choice sets as they are published, and the fields that lm-eval wants of the first.

The rows are made up, in the form of the published ones: keys, types and nesting are theirs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _arc(n: int) -> dict[str, Any]:
    choices = [
        {"text": f"{word} {n}", "label": str(i + 1)} for i, word in enumerate(("rock", "wet sand", "air"))
    ]
    return {
        "id": f"Mercury_{n}",
        "question": {"stem": f"What is layer {n} made of?", "choices": choices},
        "answerKey": str(1 + n % 3),
    }


def _pair(n: int, labels: Sequence[str]) -> dict[str, Any]:
    return {"premise": f"{n} cats sat.", "hypothesis": "Cats sat", "label": labels[n % len(labels)], "idx": n}


def _multirc(n: int) -> dict[str, Any]:
    answers = [{"text": f"answer {a}", "idx": a, "label": int((a + n) % 2)} for a in range(3)]
    questions = [{"question": f"Who is {q}?", "answers": answers, "idx": q} for q in range(2)]
    return {"idx": n, "version": 1.1, "passage": {"text": f"Text {n}.", "questions": questions}}


def _record(n: int) -> dict[str, Any]:
    text = f"Ann {n} met Bo in Rome.\n@highlight\nThey met"
    entities = [
        {"start": text.index(word), "end": text.index(word) + len(word) - 1} for word in ("Ann", "Bo", "Rome")
    ]
    answer = {**entities[n % 3], "text": ("Ann", "Bo", "Rome")[n % 3]}
    query = {"query": "It was @placeholder whom we saw", "answers": [answer], "idx": n}
    passage = {"text": text, "entities": entities}
    return {"source": "CNN", "passage": passage, "qas": [query], "idx": n}


def _race(n: int) -> str:
    return json.dumps(
        {
            "answers": ["A", "BCD"[n % 3]],
            "options": [["a cat", "no", "a cow", "two"], ["it", "we all", "I", "you"]],
            "questions": [f"What is {n}?", "Who knows _ ."],
            "article": f"Article {n}.",
            "id": f"high{n}.txt",
        }
    )


def _schema(n: int) -> str:
    return f"""<schema><text>
 <txt1>The city councilmen refused the {n}   demonstrators a permit because</txt1>
 <pron> they </pron> <txt2>feared violence.</txt2></text>
 <quote><quote1></quote1><pron>they</pron><quote2>feared</quote2></quote>
 <answers><answer>The city councilmen</answer><answer>The demonstrators</answer></answers>
 <correctAnswer>{"AB"[n % 2]}{"." if n else ""}</correctAnswer><source>(Winograd 1972)</source></schema>"""


_STORY = (
    "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,"
    "RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2,AnswerRightEnding\n"
)
_SAT = """# SAT analogies

190 FROM REAL SATs
lull trust v:n
balk fortitude v:n
betray loyalty v:n
cajole compliance v:n
hinder destination v:n
soothe passion v:n
c

KS578
ostrich bird n:n
lion cat n:n
goose flock n:n
ewe sheep n:n
cub bear n:n
primate monkey n:n
a

190 FROM REAL SATs
word language n:n
paint portrait n:n
poetry rhythm n:n
note music n:n
tale story n:n
week year n:n
c
"""

PUBLISHED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "hellaswag": (
        "hellaswag_val.jsonl",
        lines(
            *(
                {
                    "ind": n,
                    "activity_label": "Roof shingle removal",
                    "ctx_a": f"A man is sitting on {n} roofs.",
                    "ctx_b": "he",
                    "ctx": f"A man is sitting on {n} roofs. he",
                    "endings": ["is using wrap.", "is ripping level tiles off.", "holds a cube.", "starts."],
                    "split": "val",
                    "split_type": "indomain",
                    "label": (n + 3) % 4,
                }
                for n in range(5)
            )
        ),
        {
            "activity_label": "Roof shingle removal",
            "ctx_a": "A man is sitting on 0 roofs.",
            "ctx_b": "he",
            "endings": ["is using wrap.", "is ripping level tiles off.", "holds a cube.", "starts."],
            "label": "3",
        },
    ),
    **{
        f"arc_{name}": (
            f"ARC-V1-Feb2018-2/ARC-{name.title()}/ARC-{name.title()}-Test.jsonl",
            lines(*map(_arc, range(5))),
            {
                "question": "What is layer 0 made of?",
                "choices": {"text": ["rock 0", "wet sand 0", "air 0"], "label": ["1", "2", "3"]},
                "answerKey": "1",
            },
        )
        for name in ("easy", "challenge")
    },
    "openbookqa": (
        "OpenBookQA-V1-Sep2018/Data/Main/test.jsonl",
        lines(*map(_arc, range(5))),
        {
            "question_stem": "What is layer 0 made of?",
            "choices": {"text": ["rock 0", "wet sand 0", "air 0"], "label": ["1", "2", "3"]},
            "answerKey": "1",
        },
    ),
    "piqa": (
        "piqa/valid.jsonl",
        lines(
            *(
                {"id": str(n), "goal": f"Open {n} jars", "sol1": "Turn it", "sol2": "Eat the jar"}
                for n in range(5)
            )
        ),
        {"goal": "Open 0 jars", "sol1": "Turn it", "sol2": "Eat the jar", "label": 1},
    ),
    "winogrande": (
        "winogrande_1.1/dev.jsonl",
        lines(
            *(
                {
                    "qID": f"Q{n}-1",
                    "sentence": f"Ann beat Robert {n} times, so _ was glad.",
                    "option1": "Ann",
                    "option2": "Robert",
                    "answer": str(1 + n % 2),
                }
                for n in range(5)
            )
        ),
        {
            "sentence": "Ann beat Robert 0 times, so _ was glad.",
            "option1": "Ann",
            "option2": "Robert",
            "answer": "1",
        },
    ),
    "winograd": (
        "WSCollection.xml",
        '<?xml version="1.0" encoding="UTF-8"?>\n<collection>'
        + "".join(map(_schema, range(5)))
        + "</collection>",
        {
            "text": "The city councilmen refused the 0 demonstrators a permit because they feared violence.",
            "pronoun": "they",
            "pronoun_loc": 65,
            "options": ["The city councilmen", "The demonstrators"],
            "label": 0,
        },
    ),
    "storycloze": (
        "cloze_test_test__spring2016 - cloze_test_ALL_test.csv",
        _STORY
        + "".join(
            f'{n}-a,Gina had {n} cats.,"She said ""hi"", twice.",Sleep.,It rained.,Good.,I won.,{1 + n % 2}\n'
            for n in range(5)
        ),
        {
            "input_sentence_1": "Gina had 0 cats.",
            "input_sentence_2": 'She said "hi", twice.',
            "input_sentence_3": "Sleep.",
            "input_sentence_4": "It rained.",
            "sentence_quiz1": "Good.",
            "sentence_quiz2": "I won.",
            "answer_right_ending": 1,
        },
    ),
    "boolq": (
        "boolq/dev.jsonl",
        lines(
            *(
                {
                    "question": f"is {n} a number",
                    "title": "Number",
                    "answer": n % 2 == 0,
                    "passage": "They count.",
                }
                for n in range(5)
            )
        ),
        {"question": "is 0 a number", "passage": "Number -- They count.", "label": 1},
    ),
    "cb": (
        "CB/val.jsonl",
        lines(*(_pair(n, ["neutral", "contradiction", "entailment"]) for n in range(6))),
        {"premise": "0 cats sat.", "hypothesis": "Cats sat", "label": 2},
    ),
    "copa": (
        "COPA/val.jsonl",
        lines(
            *(
                {
                    "premise": f"My {n} bodies cast a shadow.",
                    "choice1": "The sun was rising.",
                    "choice2": "Grass grew.",
                    "question": "cause",
                    "label": n % 2,
                    "idx": n,
                }
                for n in range(5)
            )
        ),
        {
            "premise": "My 0 bodies cast a shadow.",
            "choice1": "The sun was rising.",
            "choice2": "Grass grew.",
            "question": "cause",
            "label": 0,
        },
    ),
    "rte": (
        "RTE/val.jsonl",
        lines(*(_pair(n, ["not_entailment", "entailment"]) for n in range(5))),
        {"premise": "0 cats sat.", "hypothesis": "Cats sat", "label": 1},
    ),
    "wic": (
        "WiC/val.jsonl",
        lines(
            *(
                {
                    "word": "place",
                    "sentence1": f"Do {n} want to come over to my place later?",
                    "sentence2": "A political system with no place for the less prominent groups.",
                    "idx": n,
                    "label": n % 2 == 1,
                    "start1": 28,
                    "start2": 30,
                    "end1": 33,
                    "end2": 35,
                    "version": 1.1,
                }
                for n in range(5)
            )
        ),
        {
            "word": "place",
            "sentence1": "Do 0 want to come over to my place later?",
            "sentence2": "A political system with no place for the less prominent groups.",
            "start1": 28,
            "end1": 33,
            "start2": 30,
            "end2": 35,
            "label": 0,
        },
    ),
    "wsc": (
        "WSC/val.jsonl",
        lines(
            *(
                {
                    "text": f"Ann told Bo {n} times that she was late.",
                    "target": {"span1_index": 0, "span1_text": "ann", "span2_index": 6, "span2_text": "she"},
                    "idx": n,
                    "label": n % 2 == 0,
                }
                for n in range(5)
            )
        ),
        {
            "text": "Ann told Bo 0 times that she was late.",
            "span1_index": 0,
            "span1_text": "Ann",
            "span2_index": 6,
            "span2_text": "she",
            "label": 1,
        },
    ),
    "multirc": (
        "MultiRC/val.jsonl",
        lines(*map(_multirc, range(3))),
        {
            "paragraph": "Text 0.",
            "question": "Who is 0?",
            "answer": "answer 0",
            "label": 0,
            "group": "MultiRC/val.jsonl:1:1",
            "solved": "- [False] answer 0\n- [True] answer 1\n- [False] answer 2",
            "first": True,
        },
    ),
    "record": (
        "ReCoRD/val.jsonl",
        lines(*map(_record, range(5))),
        {
            "passage": "Ann 0 met Bo in Rome.\n@highlight\nThey met",
            "query": "It was @placeholder whom we saw",
            "entities": ["Ann", "Bo", "Rome"],
            "answers": ["Ann"],
            "completions": ["It was Ann whom we saw", "It was Bo whom we saw", "It was Rome whom we saw"],
            "gold": [0],
        },
    ),
    **{
        f"anli_r{n}": (
            f"anli_v1.0/R{n}/test.jsonl",
            lines(
                *(
                    {
                        "uid": f"u{i}",
                        "context": f"Ann has {i} cats.",
                        "hypothesis": "Ann has a cat.",
                        "label": "nec"[i % 3],
                        "model_label": "e",
                        "emturk": False,
                        "genre": "wiki",
                        "reason": "",
                        "tag": "",
                    }
                    for i in range(5)
                )
            ),
            {"premise": "Ann has 0 cats.", "hypothesis": "Ann has a cat.", "label": 1},
        )
        for n in (1, 2, 3)
    },
    **{
        f"race_{name[0]}": (
            f"RACE/test/{name}/7.txt",
            _race(0),
            {
                "article": "Article 0.",
                "problems": repr(
                    [{"question": "What is 0?", "answer": "A", "options": ["a cat", "no", "a cow", "two"]}]
                ),
                "earlier": "",
                "question": "What is 0?",
                "options": ["a cat", "no", "a cow", "two"],
                "label": 0,
                "last": False,
            },
        )
        for name in ("high", "middle")
    },
    "sat_analogies": (
        "SAT-package-V3.txt",
        _SAT,
        {
            "stem": ["lull", "trust"],
            "phrases": [
                *("balk is to fortitude", "betray is to loyalty", "cajole is to compliance"),
                *("hinder is to destination", "soothe is to passion"),
            ],
            "label": 2,
        },
    ),
}
"""Task -> the path of its file, what is in it, and the row of its first example."""

BESIDE = {"piqa": ("piqa/valid-labels.lst", "1\n0\n1\n1\n0\n")}
"""Files that lie beside them."""

MORE = {
    f"race_{name[0]}": [(f"RACE/test/{name}/{n + 7}.txt", _race(n)) for n in (1, 2)]
    for name in ("high", "middle")
}
"""Further files of sets that are folders."""
