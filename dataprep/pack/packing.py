"""What one pack is: the text shards of new increments, and how they are cut into token shards."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from dataprep.corpus.directory import JOBS, Build, Increment
from dataprep.errors import DataError
from dataprep.pack.manifest import TokenizerIdentity
from dataprep.shards import text_shards
from dataprep.shards.text_shards import TextShard
from dataprep.store.checksummed_json import dump, load_or_none
from dataprep.store.files import write_once

FILE = "packing.json"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How tokens are cut into files; `held_out` is the share of URLs in the `val` split."""

    block_tokens: int = 1 << 20
    shard_blocks: int = 256
    held_out: float = 0.005


def is_held_out(url_key: bytes, share: float) -> bool:
    """Whether a URL is among the share of them that makes the `val` split."""
    return int.from_bytes(url_key[:8], "big") < share * 2**64


@dataclass(frozen=True, kw_only=True)
class Packing:
    """The scope of the steps of a pack: what it reads, and where its shards go.

    increments: those that are new, by number, with `manifest.identity` of their text shards.
    """

    tokens: Path
    corpus: Path
    build: str
    increments: dict[str, str]
    identity: TokenizerIdentity
    dtype: str
    held_out: float
    block_tokens: int
    shard_blocks: int

    @property
    def root(self) -> Path:
        return self.tokens

    @property
    def places(self) -> dict[str, Path]:
        """Another tokenizer, layout or text, another directory. What stands there goes when all is done."""
        decides = (
            self.identity.fingerprint,
            self.held_out,
            self.block_tokens,
            self.shard_blocks,
            sorted(self.increments.items()),
        )
        return {"pack": self.tokens / "runs" / xxhash.xxh3_64_hexdigest(repr(decides).encode())}

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's copy beside the shards."""
        return self.tokens / "tokenizer"

    @property
    def shard_tokens(self) -> int:
        """Tokens of a full shard."""
        return self.block_tokens * self.shard_blocks

    def texts(self, increment: str) -> list[TextShard]:
        """The text shards of an increment, by its number."""
        build = Build(self.build, self.corpus / "builds" / self.build)
        (path,) = build.path.glob(f"{increment}-*")
        return text_shards.shards(build, Increment(int(increment), path.name.partition("-")[2], path))

    def save(self) -> None:
        """Write the scope into its directory, so that any process can take part in it."""
        write_once(self.places["pack"] / FILE, dump(msgspec.to_builtins(self, enc_hook=str)))

    def discard(self) -> None:
        """Remove what stands of its steps."""
        place = self.places["pack"]
        shutil.rmtree(self.root / JOBS / place.relative_to(self.root), ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)

    @staticmethod
    def under_way(tokens: Path) -> list[Packing]:
        """The packs that were begun in a token directory and not removed since."""
        places = list[str]()
        with suppress(FileNotFoundError):
            places = sorted(os.listdir(tokens / "runs"))
        found = (load_or_none(tokens / "runs" / place / FILE, dict[str, Any]) for place in places)
        return [
            Packing(
                **fields
                | {"tokens": tokens, "corpus": Path(fields["corpus"])}
                | {"identity": TokenizerIdentity(**fields["identity"])}
            )
            for fields in found
            if fields
        ]

    @staticmethod
    def load(tokens: Path) -> Packing:
        """The pack that is under way in a token directory; raises DataError unless there is just one."""
        found = Packing.under_way(tokens)
        if len(found) != 1:
            raise DataError(f"{tokens}: {len(found)} packs are under way here; run `outbound pack` again")
        return found[0]
