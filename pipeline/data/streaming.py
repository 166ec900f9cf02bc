"""Token shards that are streamed instead of mapped: tars in a bucket, behind a web server or a command.

Plain WebDataset reads them one after another; there is no random access. So the order of the data is that of
the shards, dealt out over the data-parallel ranks: rank r of n reads shards r, r + n, ... as one stream of
tokens, again and again. The generation's manifest, which lies in `data.tokens`, says what each must hold: one
that is short, long or broken is refused as it is read, and whole shards are skipped unopened on resuming.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.pack.manifest import Shard
from pipeline.data.token_stream import PinnedGeneration, refuse_strange
from pipeline.errors import RunError, UsageError

HASH = re.compile(r"-[0-9a-f]{12}\.tar$")
"""How `outbound pack` ends the name of a shard."""

Streamed = tuple[str, Shard]
"""From where a shard comes, and what it holds."""


def expand(pattern: str, generation: PinnedGeneration) -> tuple[Streamed, ...]:
    """The shards that `data.stream` names, in its order: URLs, `pipe:` commands or paths.

    `{shard}` stands for each training shard of the generation in turn, WebDataset's {00000..00010} for
    numbers, a path's `*` for what is there. A copy may have lost the hash in its name: train-0001-00000.tar.

    Raises UsageError when one does not name exactly one training shard, or names one twice.
    """
    from webdataset.shardlists import expand_urls

    known = {shard.tar.path: shard for shard in generation.splits["train"].shards}
    if "{shard}" in pattern:
        urls = [pattern.replace("{shard}", name) for name in known]
    elif "*" in pattern and not pattern.startswith("pipe:"):
        # Whole paths, so that a file that is called "pipe:..." is no command.
        urls = sorted(str(Path(path).absolute()) for path in glob(pattern))
    else:
        urls = list(expand_urls(pattern))
    found: dict[str, Streamed] = {}
    for url in urls or [pattern]:
        named = [name for name in known if name in url or HASH.sub(".tar", name) in url]
        if len(named) != 1 or named[0] in found:
            raise UsageError(
                f"data.stream: {url!r} must name one training shard of generation {generation.number}, "
                f"and no other must name the same: {', '.join([*known][:3])} ..."
            )
        found[named[0]] = url, known[named[0]]
    return tuple(found.values())


@dataclass(frozen=True)
class StreamedSamples:
    """Sample after sample of a run, as one data-parallel rank reads them."""

    shards: Sequence[Streamed]
    generation: PinnedGeneration
    n_ctx: int

    @staticmethod
    def of(
        shards: Sequence[Streamed], generation: PinnedGeneration, n_ctx: int, dp_size: int
    ) -> StreamedSamples:
        """Check that every rank has something to read; raises UsageError when one has not."""
        for rank in range(dp_size):
            if _sequences(shards[rank::dp_size], n_ctx) < 1:
                raise UsageError(
                    f"data.stream: {len(shards)} shards leave rank {rank} of {dp_size} data-parallel ranks "
                    f"no sequence of {n_ctx}: stream more shards, or use fewer ranks"
                )
        return StreamedSamples(shards, generation, n_ctx)

    def numbered(self, consumed: int, dp_rank: int, dp_size: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Endless samples of a rank once the run has consumed so many, each after its number in the order.

        (n_ctx + 1,) tokens each. Raises RunError for a shard that is not what the manifest says.
        """
        mine = self.shards[dp_rank::dp_size]
        held = _sequences(mine, self.n_ctx)
        read = consumed // dp_size
        while True:
            for tokens in self._epoch(mine, read % held):
                yield read * dp_size + dp_rank, tokens
                read += 1

    def _epoch(self, mine: Sequence[Streamed], first: int) -> Iterator[npt.NDArray[Any]]:
        rest = np.empty(0, self.generation.dtype)
        for block in self._tokens(mine, first * self.n_ctx):
            rest = np.concatenate([rest, block])
            whole = max(0, len(rest) - 1) // self.n_ctx
            for start in range(0, whole * self.n_ctx, self.n_ctx):
                yield rest[start : start + self.n_ctx + 1]
            rest = rest[whole * self.n_ctx :]

    def _tokens(self, mine: Sequence[Streamed], skip: int) -> Iterator[npt.NDArray[Any]]:
        """The blocks of some shards after their first `skip` tokens."""
        for url, shard in mine:
            if skip >= (held := _held(shard)):
                skip -= held  # without opening it
                continue
            for block in self._blocks(url, shard):
                if skip < len(block):
                    yield block[skip:]
                skip = max(0, skip - len(block))

    def _blocks(self, url: str, shard: Shard) -> Iterator[npt.NDArray[Any]]:
        import webdataset

        remedy = "restore it, or stream another copy"
        sizes = [tokens for _, tokens in shard.blocks]
        read = 0
        try:
            tar = webdataset.WebDataset([url], shardshuffle=False, nodesplitter=_all, empty_check=False)
            for member in tar:
                block = np.frombuffer(member["bin"], self.generation.dtype)
                if read == len(sizes) or len(block) != sizes[read]:
                    raise RunError(f"{url}: block {read} is not one of {shard.tar.path}: {remedy}")
                refuse_strange(block, self.generation, url)
                yield block
                read += 1
        except (OSError, tarfile.TarError, ValueError, KeyError) as error:
            raise RunError(f"{url}: cannot be read ({error}): {remedy}") from None
        if read < len(sizes):
            raise RunError(f"{url}: ends after {read} of {len(sizes)} blocks: {remedy}")


def _all(urls: Any) -> Any:
    """Ranks share out the shards above; WebDataset must not do so again."""
    return urls


def _held(shard: Shard) -> int:
    return sum(tokens for _, tokens in shard.blocks)


def _sequences(mine: Sequence[Streamed], n_ctx: int) -> int:
    return max(0, sum(_held(shard) for _, shard in mine) - 1) // n_ctx
