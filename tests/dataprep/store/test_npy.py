"""Arrays in several files are read as one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprep.store import npy


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(0, 5), max_size=6), data=st.data())
def test_what_is_taken_from_pieces_is_what_is_taken_from_them_joined(
    lengths: list[int], data: st.DataObject
) -> None:
    whole = np.arange(sum(lengths), dtype=np.uint32) * 7
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=12)) if len(whole) else []
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / f"{number}.npy" for number in range(len(lengths))]
        for path, piece in zip(paths, np.split(whole, np.cumsum(lengths)[:-1]), strict=False):
            np.save(path, piece)
        found = npy.Pieces(paths, lengths, np.uint32).take(np.array(rows, np.int64))
    assert found.dtype == np.uint32
    assert found.tolist() == whole[np.array(rows, np.int64)].tolist()
