"""Articles with their summaries: CNN/DailyMail (Hermann et al. 2015, Nallapati et al. 2016)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import json_lines, lines, name

HIGHLIGHT = "@highlight"


def cnn_dailymail(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Rows of `article` and `highlights`, which is a sentence a line.

    Either JSON lines with these fields, or the published stories (https://cs.nyu.edu/~kcho/DMQA/): a file
    each, whose name is the SHA-1 of its URL, with the article and "@highlight" before each sentence of the
    summary. Files of URLs (all_test.txt, https://github.com/abisee/cnn-dailymail) choose among the stories.
    """
    urls = [path for path in paths if path.name.endswith(".txt")]
    chosen = {hashlib.sha1(url.encode()).hexdigest() for path in urls for url in _lines(path)}
    for path in paths:
        file = name(path, root)
        if path.suffix == ".story":
            if not urls or path.stem in chosen:
                yield Example(file=file, line=0, key=path.stem, unit=path.stem, row=_story(path))
        elif path not in urls:
            for line, row in json_lines(path):
                fields = {"article": row.text("article"), "highlights": row.text("highlights")}
                key = f"{file}:{line}"
                yield Example(file=file, line=line, key=key, unit=key, row=fields)


def _story(path: Path) -> dict[str, str]:
    article, *highlights = "\n".join(_lines(path)).split(HIGHLIGHT)
    if not article.strip() or not highlights:
        raise DataError(f"{path}: is no story; it has an article, and {HIGHLIGHT} before each highlight")
    return {"article": article.strip(), "highlights": "\n".join(each.strip() for each in highlights)}


def _lines(path: Path) -> list[str]:
    """Its lines that are not empty."""
    return [line.strip() for _, line in lines(path) if line.strip()]
