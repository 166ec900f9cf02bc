"""Reader of Winograd schemas: a sentence with a pronoun, and two nouns that it may mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Row, each_line, is_json_lines, name, reading


def winograd(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Winograd schemas: `WSCollection.xml`, or JSON lines in the fields of lm-eval's file.

    WSC273 is the first 273 of the collection's schemas. Format:
    https://cs.nyu.edu/~davise/papers/WinogradSchemas/WS.html.
    """
    for path in paths:
        yield from each_line([path], root, _schema) if is_json_lines(path) else _schemas(path, root)


WSC273 = 273


def _schemas(path: Path, root: Path) -> Iterator[Example]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    with reading(path) as file:
        content = file.read()
    try:
        schemas = etree.fromstring(content.encode(), parser).findall("schema")
    except etree.XMLSyntaxError as error:
        why = " ".join(str(error).split())
        raise DataError(f"{path}: is no whole XML ({why}); fetch it again") from None
    if not schemas:
        raise DataError(f"{path}: holds no <schema>; WSCollection.xml is a list of them")
    for number, schema in enumerate(schemas[:WSC273], start=1):
        where = f"{path}:{schema.sourceline}"
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
        fields = _schema(Row(where, row))
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
