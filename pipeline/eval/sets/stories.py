"""Readers of multiple-choice sets that are no JSON lines: stories, schemas, articles, analogies."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Keys, Row, each_line, name, reading


def storycloze(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """StoryCloze's CSV, of 2016 or 2018. Format: https://cs.rochester.edu/nlp/rocstories/."""
    keys = Keys()
    for path in paths:
        file = name(path, root)
        with reading(path) as text:
            table = csv.DictReader(text, strict=True)
            while True:
                try:
                    line = next(table, None)
                except csv.Error as error:
                    raise DataError(
                        f"{path}:{table.line_num}: is no CSV ({error}); fetch the file again"
                    ) from None
                if line is None:
                    break
                row = Row(
                    f"{path}:{table.line_num}",
                    {key: value for key, value in line.items() if value is not None},
                )
                right = row.one_of("AnswerRightEnding", ["1", "2"]) + 1
                fields: dict[str, Any] = {
                    **{f"input_sentence_{n}": row.text(f"InputSentence{n}") for n in range(1, 5)},
                    **{f"sentence_quiz{n}": row.text(f"RandomFifthSentenceQuiz{n}") for n in (1, 2)},
                    "answer_right_ending": right,
                }
                key = keys(row.text("InputStoryid"))
                yield Example(file=file, line=table.line_num, key=key, unit=key, row=fields)


def winograd(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Winograd schemas: `WSCollection.xml`, or JSON lines in the fields of lm-eval's file.

    WSC273 is the first 273 of the collection's schemas. Format:
    https://cs.nyu.edu/~davise/papers/WinogradSchemas/WS.html.
    """
    for path in paths:
        if path.name.lower().removesuffix(".gz").endswith(".xml"):
            yield from _schemas(path, root)
        else:
            yield from each_line([path], root, _schema)


WSC273 = 273


def _schemas(path: Path, root: Path) -> Iterator[Example]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    with reading(path) as file:
        content = file.read()
    try:
        schemas = etree.fromstring(content.encode(), parser).findall("schema")
    except etree.XMLSyntaxError as error:
        raise DataError(f"{path}: is no whole XML ({error}); fetch it again") from None
    if not schemas:
        raise DataError(f"{path}: holds no <schema>; WSCollection.xml is a list of them")
    for number, schema in enumerate(schemas[:WSC273], start=1):
        where = Row(f"{path}:{schema.sourceline}", {})
        texts = {
            tag: " ".join((schema.findtext(f"text/{tag}") or "").split()) for tag in ("txt1", "pron", "txt2")
        }
        options = [" ".join((each.text or "").split()) for each in schema.findall("answers/answer")]
        letter = (schema.findtext("correctAnswer") or "").strip().rstrip(".")
        row = {
            "text": " ".join(part for part in texts.values() if part),
            "pronoun": texts["pron"],
            "pronoun_loc": len(texts["txt1"]) + 1 if texts["txt1"] else 0,
            "options": options,
            "label": "AB".find(letter) if letter else -1,
        }
        key = f"{name(path, root)}:{number}"
        fields = _schema(Row(where.where, row))
        yield Example(file=name(path, root), line=schema.sourceline, key=key, unit=key, row=fields)


def _schema(row: Row) -> dict[str, Any]:
    options, place, pronoun = row.texts("options"), row.get("pronoun_loc", int), row.text("pronoun")
    if len(options) != 2 or not all(options):
        raise row.wrong("options", "a list of two texts")
    if not pronoun:
        raise row.wrong("pronoun", "a word")
    if row.text("text")[place : place + len(pronoun)] != pronoun:
        raise row.wrong("pronoun_loc", f"the place of {pronoun!r} in the text")
    return {
        "text": row.text("text"),
        "pronoun": pronoun,
        "pronoun_loc": place,
        "options": options,
        "label": row.one_of("label", [0, 1]),
    }


def race(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """RACE: a text file of JSON an article, with its questions. Format: https://www.cs.cmu.edu/~glai1/data/race/.

    An example is one question after those before it, solved; `last` is true for the last one, which lm-eval
    asks. `problems` is a list as Python writes it: lm-eval's file wants that.
    """
    keys = Keys()
    for path in paths:
        file = name(path, root)
        with reading(path) as text:
            try:
                row = Row(str(path), json.loads(text.read()))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}: is no JSON ({error}); an article of RACE is one object") from None
        if not isinstance(row.fields, dict):
            raise DataError(f"{path}: is no JSON object; an article of RACE is one object")
        questions, answers, options = row.texts("questions"), row.texts("answers"), row.get("options", list)
        if not len(questions) == len(answers) == len(options):
            raise row.wrong("options", f"a list of {len(questions)} lists, one a question")
        problems = []
        for n, (question, answer, choices) in enumerate(zip(questions, answers, options, strict=True)):
            one = Row(f"{path}: question {n + 1}", {"answers": answer, "options": choices})
            if len(one.texts("options")) != 4:
                raise one.wrong("options", "a list of four texts")
            one.one_of("answers", ["A", "B", "C", "D"])
            problems.append({"question": question, "answer": answer, "options": choices})
        for n in range(len(problems)):
            fields = {
                "article": row.text("article"),
                "problems": repr(problems[: n + 1]),
                "earlier": "".join(
                    f"Q: {each['question']}\n\nA: {each['options']['ABCD'.index(each['answer'])]}\n\n"
                    for each in problems[:n]
                ),
                "question": problems[n]["question"],
                "options": problems[n]["options"],
                "label": "ABCD".index(problems[n]["answer"]),
                "last": n == len(problems) - 1,
            }
            key = keys(f"{file}:{n + 1}")
            yield Example(file=file, line=0, key=key, unit=file, row=fields)


def analogies(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """SAT analogies: blocks of a source, a pair of words, five more pairs, and the letter of the right one.

    A pair is two words and their parts of speech (`lull trust v:n`); lines from # are comments. Format:
    Turney's SAT-package-V3.txt, https://aclweb.org/aclwiki/SAT_Analogy_Questions_(State_of_the_art).
    """
    keys = Keys()
    for path in paths:
        file = name(path, root)
        with reading(path) as text:
            lines = [
                (number, line.strip())
                for number, line in enumerate(text, start=1)
                if not line.startswith("#")
            ]
        block: list[tuple[int, str]] = []
        for number, line in [*lines, (len(lines) + 1, "")]:
            if line:
                block.append((number, line))
            elif block:
                key = keys(f"{file}:{block[0][0]}")
                yield Example(file=file, line=block[0][0], key=key, unit=key, row=_analogy(path, block))
                block = []


def _analogy(path: Path, block: Sequence[tuple[int, str]]) -> dict[str, Any]:
    where = f"{path}:{block[0][0]}"
    if len(block) != 8:
        raise DataError(
            f"{where}: a block of {len(block)} lines, where a source, six pairs and a letter are wanted"
        )
    pairs = [line.split() for _, line in block[1:7]]
    for (number, line), pair in zip(block[1:7], pairs, strict=True):
        if len(pair) < 2:
            raise DataError(f"{path}:{number}: {line!r} is no pair of words")
    letter = Row(f"{path}:{block[7][0]}", {"answer": block[7][1].lower()})
    return {
        "stem": pairs[0][:2],
        "phrases": [f"{first} is to {second}" for first, second, *_ in pairs[1:]],
        "label": letter.one_of("answer", list("abcde")),
    }
