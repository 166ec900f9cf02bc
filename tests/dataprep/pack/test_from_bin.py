"""Tokens of nanoGPT and Megatron become token shards, every one of them in its place."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprep.pack.manifest import Generation, latest_generation
from dataprep.pack.positions import Documents
from dataprep.tokenizer import tokenizer
from pipeline.data.sources import Samples, Sources
from support.cli import result
from support.cli import run as outbound
from support.kills import die_before, killed
from support.packed_corpus import TEXTS, stream

pytestmark = pytest.mark.slow(3)


@pytest.fixture(scope="module")
def documents(bpe: Path) -> list[list[int]]:
    """The ids of some texts; one is empty, and one is longer than a shard."""
    encoder = tokenizer.load(bpe)
    return [
        *(encoder.encode(text[: 40 * n]) for n, text in enumerate(TEXTS[:20])),
        encoder.encode(TEXTS[50] * 3),
    ]


def joined(documents: Sequence[Sequence[int]], eot: int) -> list[int]:
    return [token for document in documents for token in [*document, eot]]


def packed(files: Sequence[Path], bpe: Path, tokens: Path, *options: object) -> Generation:
    words = [word for file in files for word in ("--from-bin", file)]
    cut = ("--block-tokens", 300, "--shard-blocks", 2)
    result("pack", *words, "--tokenizer", bpe, "-o", tokens, *cut, *options)
    generation = latest_generation(tokens)
    assert generation
    return generation


def write_megatron(prefix: Path, documents: Sequence[Sequence[int]], kind: int, dtype: str) -> Path:
    """As Megatron's IndexedDatasetWriter: every second document is of two sequences."""
    pieces, bounds = list[Sequence[int]](), [0]
    for number, document in enumerate(documents):
        half = len(document) // 2 if number % 2 else len(document)
        pieces += [document[:half], *([document[half:]] if number % 2 else [])]
        bounds.append(len(pieces))
    lengths = np.array([len(piece) for piece in pieces], "<i4")
    places = (np.cumsum(lengths, dtype="<i8") - lengths) * np.dtype(dtype).itemsize
    np.array([token for piece in pieces for token in piece], dtype).tofile(f"{prefix}.bin")
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, kind, len(pieces), len(bounds))
    rest = lengths.tobytes() + places.astype("<i8").tobytes() + np.array(bounds, "<i8").tobytes()
    Path(f"{prefix}.idx").write_bytes(head + rest)
    return prefix


def test_a_folder_of_nanogpt_is_its_two_streams(
    documents: list[list[int]], bpe: Path, tmp_path: Path
) -> None:
    eot, tokens = tokenizer.load(bpe).eot, tmp_path / "t"
    streams = {"train": joined(documents, eot), "val": [*joined(documents[:3], eot), 5, 6]}
    for split, ids in streams.items():
        np.array(ids, "<u2").tofile(tmp_path / f"{split}.bin")
    generation = packed([tmp_path], bpe, tokens)
    assert stream(tokens, generation, "train") == streams["train"]
    assert stream(tokens, generation, "val") == [*streams["val"], eot], "the last document ends, too"
    assert [generation.splits[split].documents for split in ("train", "val")] == [len(documents), 4]
    assert len(generation.splits["train"].shards) > 3
    end = generation.splits["train"].tokens
    spans = [*Documents(tokens, generation, "train").within(0, end)]
    assert [span.end - span.start for span in spans] == [len(document) + 1 for document in documents]
    samples = Samples.of(Sources.load({"": (tokens, None, 1.0)}), 16, seed=1, block=4)
    read = sorted(int(place) for place in samples.places(np.arange((end - 1) // 16))[1])
    assert read == list(range(0, end - 16, 16)), "a run reads every sequence of it once"


@pytest.mark.parametrize(("kind", "dtype"), [(8, "<u2"), (4, "<i4")])
def test_documents_of_megatron_get_their_end_and_a_share_is_held_out(
    documents: list[list[int]], bpe: Path, tmp_path: Path, kind: int, dtype: str
) -> None:
    eot, tokens = tokenizer.load(bpe).eot, tmp_path / "t"
    ended = [[*document, eot] if number % 3 else document for number, document in enumerate(documents)]
    prefix = write_megatron(tmp_path / "text_document", ended, kind, dtype)
    generation = packed([prefix], bpe, tokens, "--held-out", 0.4)
    found = {split: stream(tokens, generation, split) for split in ("train", "val")}
    whole = [document if document[-1:] == [eot] else [*document, eot] for document in ended]
    held_out = [document for document in whole if is_within(document, found["val"])]
    assert 2 < len(held_out) < len(documents) - 2
    assert found["val"] == [token for document in held_out for token in document]
    assert found["train"] == [token for document in whole if document not in held_out for token in document]


def is_within(document: list[int], ids: list[int]) -> bool:
    wanted = np.array(document).tobytes()
    return len(document) > 1 and wanted in np.array(ids).tobytes()


def test_a_pack_that_is_killed_is_made_anew_with_the_same_bytes(
    documents: list[list[int]], bpe: Path, tmp_path: Path
) -> None:
    eot = tokenizer.load(bpe).eot
    np.array(joined(documents, eot), "<u2").tofile(tmp_path / "ids.bin")
    packed([tmp_path / "ids.bin"], bpe, tmp_path / "whole")

    def pack_until(call: int) -> None:
        die_before(call, os, "replace", "link")
        packed([tmp_path / "ids.bin"], bpe, tmp_path / "t")

    assert killed(pack_until, 9)
    packed([tmp_path / "ids.bin"], bpe, tmp_path / "t")
    names = {path.name for path in (tmp_path / "t").glob("*") if path.is_file()}
    assert names == {path.name for path in (tmp_path / "whole").glob("*") if path.is_file()}


def spoilt(name: str, directory: Path, documents: list[list[int]]) -> tuple[list[object], str]:
    """Words after `pack` that are refused, and a part of the answer."""
    path = directory / "ids.bin"
    np.array(documents[5], "<u2").tofile(path)
    prefix = write_megatron(directory / "text_document", documents, 8, "<u2")
    index = Path(f"{prefix}.idx")
    if name == "foreign id":
        np.array([*documents[5], 999], "<u2").tofile(path)
        return [
            "--from-bin",
            path,
        ], f"{path}: id 999 at token {len(documents[5])} is none of the tokenizer's 400"
    if name == "odd bytes":
        path.write_bytes(path.read_bytes() + b"x")
        return ["--from-bin", path], f"{path}: "
    if name == "cut index":
        index.write_bytes(index.read_bytes()[:-9])
        return ["--from-bin", prefix], f"{index}: is cut off"
    if name == "no index":
        index.write_bytes(b"PK" + index.read_bytes())
        return ["--from-bin", prefix], f"{index}: is no whole index of Megatron"
    if name == "other index":
        np.array(documents[5], "<u2").tofile(f"{prefix}.bin")
        return ["--from-bin", prefix], f"{index}: does not describe {prefix}.bin"
    if name == "nothing there":
        return ["--from-bin", directory / "none"], "none: no such file; expected"
    if name == "no train.bin":
        return ["--from-bin", directory], "holds no train.bin"
    return [directory, "--from-bin", path], "give a corpus, or files of tokens with --from-bin"


@pytest.mark.parametrize(
    "name",
    "foreign id,odd bytes,cut index,no index,other index,nothing there,no train.bin,a corpus".split(","),
)
def test_what_is_no_such_file_is_refused_by_name_and_nothing_is_made(
    documents: list[list[int]], bpe: Path, tmp_path: Path, name: str
) -> None:
    words, part = spoilt(name, tmp_path, documents)
    ended: Any = outbound("pack", *words, "--tokenizer", bpe, "-o", tmp_path / "t")
    assert ended.returncode in (1, 2)
    assert part in ended.stderr
    assert not [*tmp_path.glob("t/*.tar"), *tmp_path.glob("t/generation-*")]


def test_token_shards_that_stand_are_not_mixed_with_other_tokens(
    documents: list[list[int]], bpe: Path, tmp_path: Path
) -> None:
    np.array(documents[5], "<u2").tofile(tmp_path / "ids.bin")
    packed([tmp_path / "ids.bin"], bpe, tmp_path / "t")
    again = outbound("pack", "--from-bin", tmp_path / "ids.bin", "--tokenizer", bpe, "-o", tmp_path / "t")
    assert (again.returncode, "holds token shards already; choose another directory" in again.stderr) == (
        1,
        True,
    )
