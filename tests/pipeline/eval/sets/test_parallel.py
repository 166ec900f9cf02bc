"""Parallel texts are read from plain text and from SGML, and paired by their names."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dataprep.errors import DataError
from pipeline.eval.sets.parallel import parallel

SGML = """<srcset setid="newstest2014" srclang="any">
<doc sysid="ref" docid="10-lesechos" genre="news" origlang="fr">
<p>
<seg id="1">Spectaculaire saut de l'&amp; or </seg>
</p>
</doc>
<doc docid="bbc" genre="news">
<seg id="1">Bonjour</seg>
</doc>
</srcset>
"""


def test_the_two_files_of_a_set_are_paired_and_the_order_of_languages_is_that_of_the_files(
    tmp_path: Path,
) -> None:
    english, french = tmp_path / "newstest2013.eng", tmp_path / "newstest2013.fra.gz"
    english.write_text("Hello\u2028you \nBye\n")
    french.write_bytes(gzip.compress(b"Bonjour\nAu revoir\n"))
    first, second = parallel([english, french], tmp_path)
    assert (first.file, first.line, first.key) == ("newstest2013.eng", 1, "newstest2013.eng:1")
    assert first.row == {"translation": {"en": "Hello\u2028you", "fr": "Bonjour"}}
    assert second.row["translation"]["fr"] == "Au revoir"


def test_sgml_has_documents_which_are_units_and_plain_text_beside_it_is_the_same_set(tmp_path: Path) -> None:
    french, english = tmp_path / "newstest2014-fren-src.fr.sgm", tmp_path / "newstest2014-fren-ref.en"
    french.write_text(SGML)
    english.write_text("Spectacular\nHello\n")
    (tmp_path / "newstest2014-fren-ref.en.sgm").write_text("is not read")
    first, second = parallel([french, english, tmp_path / "newstest2014-fren-ref.en.sgm"], tmp_path)
    assert first.row["translation"] == {"fr": "Spectaculaire saut de l'& or", "en": "Spectacular"}
    assert [each.unit for each in (first, second)] == [f"{french.name}:10-lesechos", f"{french.name}:bbc"]
    assert (first.line, second.line) == (4, 8)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.en": "x\n", "a.fr": "x\ny\n"}, r"a\.en: has 1 sentences, .*a\.fr 2"),
        ({"a.en": "x\n"}, r"a\.en: a parallel text is two files of one name in two languages"),
        ({"a.en": "x\n", "b.fr": "x\n"}, r"a\.en: a parallel text is two files"),
        ({"a.en": "x\n", "a.fr": "x\n", "a.de": "x\n"}, r"a\.en, .*a\.de: a parallel text is two files"),
        ({"english": "x\n"}, r"english: does not end in a language; call it NAME\.en"),
        ({"a.en.sgm": "x\n", "a.fr": "x\n"}, r"a\.en\.sgm: has no <seg>"),
    ],
)
def test_files_that_do_not_make_pairs_are_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list(parallel([tmp_path / name for name in files], tmp_path))
