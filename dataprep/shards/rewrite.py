"""Publishing a text shard again, with some of its samples changed or taken out."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataprep.corpus.directory import Corpus
from dataprep.shards.text_shards import TextShard, content_of, damaged, publish_index, write_sample
from dataprep.store.files import Output, attempt_path, publish
from dataprep.store.tars import open_tar


def rewritten(
    corpus: Corpus, shard: TextShard, change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> list[Output]:
    """Publish a shard again with what `change` makes of each KEY.json; None takes the sample out.

    Gives the shard's own outputs when nothing changes, and none when no sample is left. Memory: one sample.
    Raises DataError when the tar is damaged.
    """
    path = corpus.root / shard.tar.path
    stem = path.name.rpartition("-")[0]
    written = attempt_path(path.parent, stem)
    try:
        members, changed = _rewrite(path, written, change)
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from None
    if not changed or not members:
        written.unlink()
        return [] if changed else [shard.tar, shard.index]
    tar = publish(corpus.root, written, stem, ".tar", rows=len(members))
    return [tar, publish_index(corpus, path.parent, stem, members)]


def _rewrite(
    path: Path, written: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> tuple[list[tuple[bytes, list[int]]], bool]:
    """Write a tar's samples as `change` makes them: those written, for the index, and whether any changed."""
    members, changed = list[tuple[bytes, list[int]]](), False
    with tarfile.open(path) as old, written.open("wb") as file, open_tar(file) as new:
        sources = iter(old)
        for about, text in zip(sources, sources, strict=True):
            before = content_of(old, about)
            fields = json.loads(before)
            after = change(fields)
            if after is None:
                changed = True
                continue
            content = before if after == fields else json.dumps(after, ensure_ascii=False).encode()
            changed = changed or content is not before
            key = about.name.removesuffix(".json")
            members.append(
                (bytes.fromhex(fields["doc_id"]), write_sample(new, key, content, content_of(old, text)))
            )
    return members, changed
