"""Token shards are mapped as one stream, and refused when they are not what the generation lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from dataprep.store.checksummed_json import dump
from pipeline.data.token_stream import TokenStream, load_generation, verify
from pipeline.errors import RunError
from support.runs import change_generation

Writer = Callable[..., dict[str, np.ndarray[Any, Any]]]


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_any_slice_of_the_stream_is_read_across_blocks_and_shards(
    tmp_path: Path, dtype: str, write_tokens: Writer
) -> None:
    stream = write_tokens(tmp_path, shards=((7, 7, 3), (7,), (7, 1)), dtype=dtype)["train"]
    mapped = TokenStream(load_generation(tmp_path, None), "train")
    for start in range(len(stream)):
        for length in range(len(stream) - start + 1):
            np.testing.assert_array_equal(mapped.slice(start, length), stream[start : start + length])
    for length in range(1, len(stream) + 1):
        rows = np.lib.stride_tricks.sliding_window_view(stream, length)
        backward = np.arange(len(rows))[::-1]
        np.testing.assert_array_equal(mapped.rows(backward, length), rows[::-1])


def test_a_slice_beyond_the_stream_is_refused(tmp_path: Path, write_tokens: Writer) -> None:
    write_tokens(tmp_path, shards=((7, 3),))
    mapped = TokenStream(load_generation(tmp_path, None), "train")
    with pytest.raises(RunError, match="outside a stream of 10"):
        mapped.slice(8, 3)


def test_the_newest_generation_is_taken_unless_one_is_pinned(tmp_path: Path, write_tokens: Writer) -> None:
    for number in (1, 2, 10):
        write_tokens(tmp_path, number)
    assert load_generation(tmp_path, None).number == 10
    assert load_generation(tmp_path, 2).number == 2


def test_a_missing_a_short_and_an_altered_shard_are_named(tmp_path: Path, write_tokens: Writer) -> None:
    write_tokens(tmp_path)
    generation = load_generation(tmp_path, 1)
    shard = tmp_path / "train-0001-00001.tar"
    whole = shard.read_bytes()

    shard.write_bytes(whole[:600] + b"!" + whole[601:])
    TokenStream(generation, "train")  # mapping compares sizes
    with pytest.raises(RunError, match=r"train-0001-00001\.tar: hash"):
        verify(generation, generation.splits["train"].shards[1])
    shard.write_bytes(whole[:-1])
    with pytest.raises(RunError, match=r"train-0001-00001\.tar: \d+ bytes, expected"):
        TokenStream(generation, "train")
    shard.unlink()
    with pytest.raises(RunError, match=r"train-0001-00001\.tar: missing"):
        TokenStream(generation, "train")


def test_a_shard_with_an_id_that_the_tokenizer_lacks_is_named(tmp_path: Path, write_tokens: Writer) -> None:
    write_tokens(tmp_path)
    generation = load_generation(tmp_path, 1)
    shard = tmp_path / "train-0001-00001.tar"
    damaged = bytearray(shard.read_bytes())
    damaged[700:702] = (61).to_bytes(2, "little")  # a vocabulary of 61 ends at 60
    shard.write_bytes(damaged)
    stream = TokenStream(generation, "train")
    first = sum(tokens for _, tokens in generation.splits["train"].shards[0].blocks)
    assert stream.slice(0, first).max() < 61
    with pytest.raises(
        RunError, match=r"train-0001-00001\.tar: holds the id 61, .* are below 61: it was packed"
    ):
        stream.slice(0, stream.tokens)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", dump({"format": "outbound-tokens/3"}), dump({"format": "other/9"})]
)
def test_a_broken_generation_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "generation-1.json").write_bytes(content)
    with pytest.raises(RunError, match=r"generation-1\.json"):
        load_generation(tmp_path, None)


def test_block_sizes_must_add_up_to_the_stream(tmp_path: Path, write_tokens: Writer) -> None:
    write_tokens(tmp_path)
    path = tmp_path / "generation-1.json"
    splits = load_generation(tmp_path, 1).splits
    longer = replace(splits["train"], tokens=splits["train"].tokens + 1)
    change_generation(path, splits=splits | {"train": longer})
    with pytest.raises(RunError, match="its blocks hold"):
        TokenStream(load_generation(tmp_path, None), "train")


def test_a_directory_without_tokens_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="outbound pack"):
        load_generation(tmp_path, None)
