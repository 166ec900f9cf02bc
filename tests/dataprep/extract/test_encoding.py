"""Pages in the web's old encodings, by what is said of them, and where nothing is said, by their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.extract.encoding import decoded

TEXTS = {
    "windows-1252": "Über die Wälder zog der Föhn – „schön“, dachte sie; größer wäre müßig.",
    "iso-8859-15": "Le cœur de l’été coûte 5 € à la fenêtre, où l'œil s'égaie dès l'aube.".replace("’", "'"),
    "iso-8859-2": "Zażółć gęślą jaźń, a potem wróć do łódki nad jeziorem, gdzie żyją łabędzie.",
    "windows-1250": "Příliš žluťoučký kůň úpěl ďábelské ódy, a všichni mu naslouchali v tichosti.",
    "windows-1251": "Съешь же ещё этих мягких французских булок, да выпей чаю, пока он горячий.",
    "koi8-r": "Съешь же ещё этих мягких французских булок, да выпей чаю, пока он горячий.",
    "windows-1253": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, και ύστερα γράφω ένα μικρό γράμμα.",
    "windows-1254": "Pijamalı hasta yağız şoföre çabucak güvendi, sonra da uzun uzun düşündü.",
    "windows-1255": "דג סקרן שט בים מאוכזב ולפתע מצא לו חברה, והם שחו יחד אל האופק.",
    "windows-1256": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق.",
    "shift_jis": "いろはにほへと散りぬるを、我が世誰ぞ常ならむ。漢字とカタカナも読む。",
    "euc-jp": "いろはにほへと散りぬるを、我が世誰ぞ常ならむ。漢字とカタカナも読む。",
    "iso-2022-jp": "いろはにほへと散りぬるを、我が世誰ぞ常ならむ。漢字とカタカナも読む。",
    "gb2312": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。寒来暑往，秋收冬藏。",
    "big5": "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。寒來暑往，秋收冬藏。",
    "euc-kr": "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "utf-8": "Zoë aß im Café – „schön“ 漢字 ещё.",
}
"""Texts that can be written in an encoding, most of them pangrams."""


def page(text: str, meta: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{meta}<title>T</title></head><body>\n<p>{text}</p></body></html>"


@pytest.mark.parametrize("label", TEXTS)
def test_what_the_server_says_is_read(label: str) -> None:
    html = page(TEXTS[label])
    assert decoded(html.encode(label), f'text/html; Charset="{label.upper()}"') == html


@pytest.mark.parametrize("label", TEXTS)
@pytest.mark.parametrize(
    "meta",
    [
        '<meta charset="{}">',
        "<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset={}'>",
        '<meta name="viewport" content="width=9"><meta charset = {} />',
    ],
)
def test_what_the_page_says_of_itself_is_read(label: str, meta: str) -> None:
    html = page(TEXTS[label], meta.format(label))
    assert decoded(html.encode(label), "text/html") == html


@pytest.mark.parametrize("label", ["windows-1251", "iso-8859-2", "utf-8"])
def test_xhtml_says_it_in_its_first_line(label: str) -> None:
    html = f'<?xml version="1.0" encoding="{label}"?>\n{page(TEXTS[label])}'
    assert decoded(html.encode(label), "application/xhtml+xml") == html


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_outweighs_every_word(codec: str) -> None:
    html = page(TEXTS["utf-8"], '<meta charset="koi8-r">')
    body = html.encode(codec) if codec in ("utf-8-sig", "utf-16") else ("\ufeff" + html).encode(codec)
    assert decoded(body, "text/html; charset=windows-1251") == html


def test_utf_16_without_a_mark_is_read_where_the_server_says_so() -> None:
    html = page(TEXTS["utf-8"])
    assert decoded(html.encode("utf-16-be"), "text/html; charset=utf-16be") == html
    assert decoded(html.encode("utf-16-le"), "text/html; charset=utf-16") == html


def test_valid_utf_8_is_utf_8_whatever_a_server_says_of_all_its_pages() -> None:
    html = page(TEXTS["utf-8"], '<meta charset="iso-8859-1">')
    assert decoded(html.encode(), "text/html; charset=ISO-8859-1") == html


def test_where_server_and_page_disagree_the_bytes_decide_and_then_the_server() -> None:
    html = page(TEXTS["shift_jis"], '<meta charset="shift_jis">')
    assert decoded(html.encode("shift_jis"), "text/html; charset=utf-8") == html
    html = page(TEXTS["windows-1251"], '<meta charset="koi8-r">')
    assert decoded(html.encode("windows-1251"), "text/html; charset=windows-1251") == html


def test_latin_1_means_windows_1252_on_the_web() -> None:
    assert decoded("„schön“".encode("cp1252"), "text/plain; charset=iso-8859-1") == "„schön“"


@pytest.mark.parametrize("label", ["windows-1252", "windows-1251", "koi8-r", "shift_jis", "gb2312"])
def test_undeclared_encodings_are_told_from_the_bytes(label: str) -> None:
    text = f"{TEXTS[label]}\n" * 5
    assert decoded(text.encode(label), "text/plain") == text


@pytest.mark.parametrize("label", ["rot13", "unicode_escape", "idna", "base64", "utf-7", "\0", "x" * 500])
def test_labels_that_are_none_of_the_web_s_are_passed_over(label: str) -> None:
    html = page(TEXTS["windows-1252"], f'<meta charset="{label}">')
    assert "Wälder" in decoded(html.encode("cp1252"), f"text/html; charset={label}")


def test_broken_bytes_cost_themselves_alone() -> None:
    body = TEXTS["utf-8"].encode() + b"\xff" + "漢字 ещё".encode()
    for content_type in ("text/html; charset=utf-8", "text/html", "text/html; charset=windows-1252"):
        assert decoded(body, content_type) == TEXTS["utf-8"] + "\ufffd漢字 ещё"


@given(st.binary(max_size=300), st.sampled_from(["", *TEXTS, "utf-16", "hz", "nonsense"]))
def test_any_bytes_are_some_text(body: bytes, label: str) -> None:
    decoded(body, f"text/html; charset={label}")
