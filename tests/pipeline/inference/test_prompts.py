"""Prompts from files, and the lines that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprep.errors import DataError
from pipeline.inference.prompts import BOM, of_file


@pytest.mark.parametrize("name", ["p.txt", "p.jsonl"])
def test_marks_ends_of_lines_and_empty_lines_are_no_part_of_a_prompt(tmp_path: Path, name: str) -> None:
    lines = ["Returns the ", " the é"]
    if name.endswith("jsonl"):
        lines = ['{"prompt": "Returns the "}', '{"id": 7, "prompt": " the \\u00e9"}']
    path = tmp_path / name
    path.write_bytes(BOM + "\r\n".join([lines[0], "", "  ", lines[1]]).encode())
    assert of_file(path) == ["Returns the ", " the é"]


def test_a_json_prompt_may_be_empty_or_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": ""}\n{"prompt": "a\\nb"}\n')
    assert of_file(path) == ["", "a\nb"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", b"the\n\nna\xefve\n", r"p\.txt: line 3 is not UTF-8 \(byte 3 is 0xef\): write the file as"),
        (
            "p.jsonl",
            b'{"prompt": "a"}\nthe\n',
            r'p\.jsonl: line 2 is no prompt: each line .* \{"prompt": "The"\}',
        ),
        ("p.jsonl", b'{"text": "a"}\n', "line 1 is no prompt"),
        ("p.jsonl", b'{"prompt": 7}\n', "line 1 is no prompt"),
        ("p.jsonl", b"[3]\n", "line 1 is no prompt"),
        ("p.txt", b"\xff\xfet\x00h\x00", "line 1 is not UTF-8"),
        ("p.txt", b"\n \r\n", "holds no prompt"),
    ],
)
def test_what_is_no_prompt_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        of_file(tmp_path / name)
