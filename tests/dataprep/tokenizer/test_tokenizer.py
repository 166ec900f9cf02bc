"""Tokenizers: one vocabulary, the same ids in tiktoken, HF's libraries and GPT-2's own algorithm."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from dataprep.errors import DataError
from dataprep.tokenizer import byte_level, gpt1, gpt2_files, tokenizer, train
from support.packed_corpus import TEXTS, built

NASTY = [
    "",
    " leading",
    "trailing  ",
    "don't\r\n\tstop",
    "'S 'T it'S",
    "\x00\x1c\x1f \x85\xa0\u2028\u3000x",
    "a\u0301e\u0308 \ufeff\u200b\U000e0001 👩‍👩‍👧‍👦 \U0010ffff",
    "漢字かな交じり文 한국어 العربية ไทย हिन्दी",
    "¹²³ ½ ⅷ 1,234.5e-6",
    "aaaaaaaaaaaaaaaa abababababab \n\n\n  \n x",
]


@cache
def both(directory: Path) -> tuple[Any, Any]:
    """A tokenizer, and HF's from its `tokenizer.json`."""
    from tokenizers import Tokenizer

    return tokenizer.load(directory), Tokenizer.from_file(str(directory / "tokenizer.json"))


@cache
def gpt2_tables(directory: Path) -> tuple[dict[str, int], dict[tuple[str, ...], int], dict[int, str]]:
    """Ids of tokens, ranks of pairs, symbols of bytes."""
    lines = (directory / "vocab.bpe").read_text().split("\n")[1:-1]
    return (
        json.loads((directory / "encoder.json").read_text()),
        {tuple(line.split()): place for place, line in enumerate(lines)},
        dict(zip(gpt2_files.bytes_by_id(), gpt2_files.byte_symbols(), strict=True)),
    )


def gpt2_ids(directory: Path, text: str) -> list[int]:
    """The ids that GPT-2's own algorithm makes: the best listed pair is merged until none is left."""
    vocabulary, rank, symbol = gpt2_tables(directory)
    ids = []
    for piece in regex.findall(byte_level.PATTERN, text):
        word = [symbol[byte] for byte in piece.encode()]
        while pairs := [pair for pair in pairwise(word) if pair in rank]:
            left, right = min(pairs, key=rank.__getitem__)
            merged, place = [], 0
            while place < len(word):
                both = word[place : place + 2] == [left, right]
                merged.append(left + right if both else word[place])
                place += 1 + both
            word = merged
        ids += [vocabulary[token] for token in word]
    return ids


def test_ids_are_bytes_then_merges_then_end_of_text(bpe: Path) -> None:
    loaded = tokenizer.load(bpe)
    assert (loaded.vocab_size, loaded.eot) == (400, 399)
    assert loaded.encode("!")[0] == 0
    for text in TEXTS[:3]:
        assert loaded.decode(loaded.encode(text)) == text
        assert len(loaded.encode(text)) < len(text.encode()) / 2


def test_tokenizers_and_gpt2_give_the_same_ids(bpe: Path) -> None:
    loaded, other = both(bpe)
    for text in [*TEXTS[:5], *NASTY]:
        ids = loaded.encode(text)
        assert other.encode(text).ids == ids == gpt2_ids(bpe, text) == loaded.encode_array(text).tolist()
        assert other.decode(ids) == loaded.decode(ids) == text


@given(st.text(st.sampled_from("abe n\n 'ts1.é漢\u0301"), max_size=40) | st.text(max_size=40))
def test_any_text_has_the_same_ids_everywhere_and_comes_back(bpe: Path, text: str) -> None:
    loaded, model = both(bpe)
    assert loaded.encode(text) == model.encode(text).ids == gpt2_ids(bpe, text)
    assert loaded.decode(loaded.encode(text)) == text


def test_transformers_load_the_files(bpe: Path) -> None:
    from transformers import GPT2TokenizerFast, PreTrainedTokenizerFast

    loaded = tokenizer.load(bpe)
    files = GPT2TokenizerFast(vocab=str(bpe / "encoder.json"), merges=str(bpe / "vocab.bpe"))
    one = PreTrainedTokenizerFast(tokenizer_file=str(bpe / "tokenizer.json"))
    for text in [*TEXTS[:3], *NASTY]:
        assert files.encode(text) == one.encode(text) == loaded.encode(text)
    assert files.convert_tokens_to_ids("<|endoftext|>") == loaded.eot


def test_tiktokens_own_loader_reads_the_files(bpe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")  # it would keep the files of an earlier test by their names
    ranks = data_gym_to_mergeable_bpe_ranks(str(bpe / "vocab.bpe"), str(bpe / "encoder.json"))
    special = {gpt2_files.END_OF_TEXT: len(ranks)}
    encoding = tiktoken.Encoding(
        "theirs", pat_str=byte_level.PATTERN, mergeable_ranks=ranks, special_tokens=special
    )
    loaded = tokenizer.load(bpe)
    assert encoding.n_vocab == loaded.vocab_size
    for text in [*TEXTS[:5], *NASTY]:
        assert encoding.encode_ordinary(text) == loaded.encode(text)


def test_end_of_text_in_a_text_is_ordinary_text(bpe: Path) -> None:
    loaded = tokenizer.load(bpe)
    assert loaded.eot not in loaded.encode("a<|endoftext|>b")
    assert loaded.decode(loaded.encode("a<|endoftext|>b")) == "a<|endoftext|>b"


@pytest.mark.slow(1)
@pytest.mark.parametrize("after", ["", "much room", "\u3000", "\x1c"])
def test_a_page_of_white_space_alone_has_the_ids_that_hf_gives(bpe: Path, after: str) -> None:
    loaded, other = both(bpe)
    text = "so" + " \n" * byte_level.LONGEST_SPACE + after
    assert loaded.encode(text) == loaded.encode_array(text).tolist() == other.encode(text).ids
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.decode(loaded.encode(" \n" * 1_000_000 + after)) == " \n" * 1_000_000 + after


@pytest.mark.slow(1)
def test_the_same_sample_trains_to_the_same_bytes(tmp_path: Path) -> None:
    code = "import sys, json; from pathlib import Path; from dataprep.tokenizer.train import train\n"
    code += "train(json.load(sys.stdin), 500, Path(sys.argv[1]))"
    for seed, threads in (("1", "1"), ("2", "3")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(command, input=json.dumps(TEXTS), text=True, env=environment, check=True)
    for name in ("vocab.bpe", "encoder.json", "tokenizer.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("kind", ["ACGT", "0123456789", "12½²", "世界é字", "=_-*", " \n"])
def test_a_word_without_end_is_cut_so_that_training_takes_linear_time(tmp_path: Path, kind: str) -> None:
    """300,000 letters took minutes: each merge goes through the whole of every word that holds the pair."""
    text = "a tale " * 500 + "".join(random.Random(kind).choices(kind, k=30_000)) + "x the end"
    pieces = [*train.pieces(text)]
    assert "".join(pieces) == text
    words = [word for piece in pieces for word in regex.findall(byte_level.PATTERN, piece)]
    assert max(map(len, words)) <= train.LONGEST_WORD + 1
    assert len(pieces) <= 32
    assert train.train([text], 400, tmp_path / "trained") == 400


def test_ordinary_text_is_not_cut() -> None:
    for text in (
        " ".join(TEXTS) * 20,
        "世界、" * 2000,
        "https://x.org/" + "a-b/" * 2000,
        ("a" * 999 + " ") * 3,
    ):
        assert [*train.pieces(text)] == [text]


def test_a_sample_is_chosen_by_document_and_has_its_size(tmp_path: Path) -> None:
    corpus = built(tmp_path, range(30), range(30, 60))
    whole = sum(len(text.encode()) for text in TEXTS)
    read: list[int] = []

    def sample(share: float) -> list[str]:
        return list(train.sample(corpus, corpus.current_build(), int(whole * share), read.append))

    half = sample(0.5)
    assert 0.3 < sum(len(text.encode()) for text in half) / whole < 0.7
    assert sum(read) == 60
    assert half == sample(0.5)
    assert set(half) <= set(sample(0.8))
    assert sorted(sample(1.0)) == sorted(TEXTS)


def test_a_tokenizer_that_replaces_another_is_not_mistaken_for_it(tmp_path: Path) -> None:
    for size in (300, 320):
        train.train(TEXTS, size, tmp_path / "bpe")
        assert tokenizer.load(tmp_path / "bpe").vocab_size == size
        with pytest.raises(DataError, match="holds a tokenizer"):
            train.train(TEXTS, size, tmp_path / "bpe")
        shutil.rmtree(tmp_path / "bpe")


def test_files_that_are_missing_or_disagree_are_refused(bpe: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vocab\.bpe and encoder\.json are missing"):
        tokenizer.load(tmp_path)
    (tmp_path / "vocab.bpe").write_text((bpe / "vocab.bpe").read_text())
    (tmp_path / "encoder.json").write_text(json.dumps({"a": 0}))
    with pytest.raises(DataError, match="do not agree"):
        tokenizer.load(tmp_path)
    (tmp_path / "encoder.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        tokenizer.load(tmp_path)
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\na 漢\n")
    (tmp_path / "encoder.json").write_text("{}")
    with pytest.raises(DataError, match="is no merge of GPT-2's file format"):
        tokenizer.load(tmp_path)


def test_two_merges_that_make_one_token_are_refused(tmp_path: Path) -> None:
    merges = ["a b", "b c", "ab c", "a bc"]
    vocabulary = [*gpt2_files.byte_symbols(), "ab", "bc", "abc", "<|endoftext|>"]
    (tmp_path / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (tmp_path / "encoder.json").write_text(json.dumps({token: n for n, token in enumerate(vocabulary)}))
    with pytest.raises(DataError, match="'abc': made by two merges"):
        tokenizer.load(tmp_path)


def test_a_token_that_only_tiktoken_would_make_is_refused(tmp_path: Path) -> None:
    gpt2_files.write(tmp_path, ["b c", "a b", "ab c"])  # of a, b, c the pair b c is merged, and then none
    loaded = tokenizer.load(tmp_path)
    assert loaded.encode("abc") != gpt2_ids(tmp_path, "abc")
    with pytest.raises(DataError, match="'ab c' never makes its token"):
        tokenizer.copy(tmp_path, tmp_path / "copy")


@pytest.fixture(scope="module")
def small_gpt1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary in the shape of GPT-1's."""
    directory = tmp_path_factory.mktemp("gpt1")
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    symbols = ["<unk>", *letters, *(letter + "</w>" for letter in letters), "\n</w>"]
    merges = ["t h", "th e</w>", "c a", "ca f", "caf e</w>"]
    tokens = [*symbols[:-1], *(merge.replace(" ", "") for merge in merges), symbols[-1]]
    (directory / gpt1.VOCABULARY).write_text(json.dumps({token: n for n, token in enumerate(tokens)}))
    (directory / gpt1.MERGES).write_text("\n".join(["#version: 0.2", *merges, ""]))
    return directory


def test_gpt1s_files_are_known_by_their_names_and_give_hf_s_ids(small_gpt1: Path) -> None:
    from transformers import OpenAIGPTTokenizer

    loaded = tokenizer.load(small_gpt1)
    files = {"vocab": str(small_gpt1 / gpt1.VOCABULARY), "merges": str(small_gpt1 / gpt1.MERGES)}
    other = OpenAIGPTTokenizer(**files)
    for text in ["The Café, the CAFE.\n\nthe", *NASTY]:
        assert loaded.encode(text) == other.encode(text) == loaded.encode_array(text).tolist()
    assert loaded.decode(loaded.encode("The Café")) == "the cafe"


def test_gpt1s_tokenizer_json_which_an_export_holds_gives_the_same_ids(
    small_gpt1: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    loaded = tokenizer.load(small_gpt1)
    (tmp_path / tokenizer.HUGGINGFACE).write_text(loaded.huggingface(), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    other = AutoTokenizer.from_pretrained(tmp_path)
    for text in ["The Café, the CAFE.\n\nthe", *NASTY]:
        assert other.encode(text) == loaded.encode(text), text


def test_no_text_gives_gpt1s_end_of_text(small_gpt1: Path) -> None:
    loaded = tokenizer.load(small_gpt1)
    assert loaded.eot == loaded.vocab_size - 1
    for text in ("\n", "a\n\nb", "\n</w>", "<unk>", "\r\n \u2028"):
        assert loaded.eot not in loaded.encode(text)
    assert 0 not in loaded.encode("<unk>")


def test_gpt1s_files_that_are_damaged_are_refused(small_gpt1: Path, tmp_path: Path) -> None:
    shutil.copytree(small_gpt1, tmp_path / "t")
    (tmp_path / "t" / gpt1.MERGES).write_text("#version: 0.2\nq z\n")
    with pytest.raises(DataError, match=r"vocab_40000\.bpe or encoder_bpe_40000\.json is damaged"):
        tokenizer.load(tmp_path / "t")
