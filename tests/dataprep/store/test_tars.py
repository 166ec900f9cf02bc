"""Our tars are, byte for byte, those that WebDataset's own writer makes."""

from __future__ import annotations

import io

import webdataset

from dataprep.store.tars import append, open_tar

SAMPLES = {"a-00000": b"", "a-00001": b"x" * 511, "a-00002": b"y" * 10_241}


def test_the_bytes_are_those_of_webdataset_and_the_places_are_told() -> None:
    theirs, ours = io.BytesIO(), io.BytesIO()
    with webdataset.TarWriter(theirs, user="", group="", mtime=0) as tar:
        for key, content in SAMPLES.items():
            tar.write({"__key__": key, "bin": content})
    with open_tar(ours) as tar:
        places = [append(tar, f"{key}.bin", content) for key, content in SAMPLES.items()]
    assert ours.getvalue() == theirs.getvalue()
    for place, content in zip(places, SAMPLES.values(), strict=True):
        assert ours.getvalue()[place:].startswith(content)
